// Layered layout of readers that follow each other: from left to right, each to the right of all its predecessors.

const SWEEPS = 4; // more make hardly any difference

/**
 * ids: of the readers, in the order to use when nothing else decides; edges: pairs of ids, [predecessor, follower]
 * Returns {layers, paths}: the places of each layer, from top to bottom, and the places along each edge.
 * A place is {id, layer}; where an edge passes a layer, id is null.
 */
export function layered(ids, edges) {
  const depth = depths(ids, edges);
  const layers = [];
  const put = (id, layer) => {
    while (layers.length <= layer) layers.push([]);
    const place = { id, layer, before: [], behind: [] };
    layers[layer].push(place);
    return place;
  };
  const places = new Map(ids.map((id) => [id, put(id, depth.get(id))]));
  const paths = edges.map(([from, to]) => {
    const path = [places.get(from)];
    for (let layer = depth.get(from) + 1; layer < depth.get(to); layer += 1) path.push(put(null, layer));
    path.push(places.get(to));
    path.slice(1).forEach((place, at) => {
      place.before.push(path[at]);
      path[at].behind.push(place);
    });
    return path;
  });
  untangle(layers);
  return { layers, paths };
}

/** For each reader, the length of the longest chain of predecessors. */
export function depths(ids, edges) {
  const depth = new Map(ids.map((id) => [id, 0]));
  // No chain is longer than there are readers.
  for (let round = 0, isDone = false; round < ids.length && !isDone; round += 1) {
    isDone = true;
    for (const [from, to] of edges) {
      if (depth.get(to) > depth.get(from)) continue;
      depth.set(to, depth.get(from) + 1);
      isDone = false;
    }
  }
  return depth;
}

/** Sorts each layer by the positions of its neighbours, so that few edges cross. */
function untangle(layers) {
  const arrange = (layer) => layer.forEach((place, at) => { place.at = at - (layer.length - 1) / 2; });
  layers.forEach(arrange);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const neighbours = sweep % 2 ? "behind" : "before";
    for (const layer of sweep % 2 ? layers.toReversed() : layers) {
      for (const place of layer) {
        const near = place[neighbours];
        place.wish = near.length ? near.reduce((sum, each) => sum + each.at, 0) / near.length : place.at;
      }
      layer.sort((left, right) => left.wish - right.wish);
      arrange(layer);
    }
  }
}
