// Which reader of the chosen queue follows which (`after=`): as a drawing and as text.

import { mark } from "./elements.js";
import { depths, layered } from "./layers.js";
import { $, chosenQueue, listen, state } from "./state.js";
import { called, count } from "./words.js";

const MOST = 30; // readers in the drawing; if there are more, only the text is shown
const SIZE = 13; // font size
const NODE = { height: 26, padding: 10, longest: 180 };
const GAP = { across: 46, down: 10, lane: 8 };
const EDGE = 4; // margin around the drawing, for outlines

const figure = $("order");
const [box, list] = [figure.querySelector("div"), figure.querySelector("ul")];
const pen = document.createElement("canvas").getContext("2d");
const numbers = new Intl.Collator(undefined, { numeric: true });
let drawn = "";
let drawnId = null; // id of the queue drawn last

function show() {
  const order = chosenQueue() && !$("every-queue").checked ? orderOf(state.snapshot.readers) : null;
  figure.hidden = !order?.edges.length;
  const told = figure.hidden ? "" : JSON.stringify([[...order.readers.values()], order.edges]);
  if (told === drawn) return;
  drawn = told;
  if (figure.hidden) return;
  const isDrawn = order.readers.size <= MOST;
  box.hidden = !isDrawn;
  list.hidden = isDrawn;
  const words = inWords(order);
  list.replaceChildren(...(isDrawn ? [] : words.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  })));
  box.replaceChildren(...(isDrawn ? [draw(order, `Order of reading: ${words.join("; ")}`)] : []));
  // The first readers of a tall drawing are half-way down.
  if (drawnId !== state.chosenId) box.scrollTop = (box.scrollHeight - box.clientHeight) / 2;
  drawnId = state.chosenId;
  stop();
}

/** {readers, edges}: the readers that follow or are followed, by id, and the pairs [predecessor, follower]. */
function orderOf(all) {
  const there = new Map(all.filter((reader) => reader.queue === state.chosenId).map((reader) => [reader.id, reader]));
  const edges = [...there.values()].flatMap((reader) => reader.after.map((before) => [before, reader.id]));
  const named = (id) => {
    const reader = there.get(id);
    if (reader) return { id, label: called(reader), note: reader.is_group ? `group of ${count(reader.members)}` : "" };
    // A snapshot may omit the readers that lag least. Ids of groups have a slash before the name.
    const slash = id.indexOf("/");
    return slash < 0 ? { id, label: `consumer ${id.slice(0, 8)}`, note: "" } : { id, label: id.slice(slash + 1), note: "group" };
  };
  const readers = [...new Set(edges.flat())].map(named)
    .sort((left, right) => numbers.compare(left.label, right.label) || (left.id < right.id ? -1 : 1));
  return { readers: new Map(readers.map((reader) => [reader.id, reader])), edges };
}

/** One line for each reader that others follow, with its followers, from the first to the last. */
function inWords({ readers, edges }) {
  const followers = new Map();
  for (const [from, to] of edges) followers.set(from, (followers.get(from) ?? new Set()).add(to));
  const depth = depths([...readers.keys()], edges);
  const all = [...readers.values()];
  const name = ({ label, note }) => (note ? `${label} (${note})` : label);
  const line = ({ id }) => all.filter((each) => followers.get(id).has(each.id)).map(name).join(", ");
  return all.filter(({ id }) => followers.has(id)).sort((left, right) => depth.get(left.id) - depth.get(right.id))
    .map((reader) => `${name(reader)} → ${line(reader)}`);
}

function draw({ readers, edges }, words) {
  pen.font = `${SIZE}px ${getComputedStyle(document.body).fontFamily}`;
  const texts = new Map([...readers.values()].map(({ id, label, note }) => [id, { label, note, ...fitted(label, note) }]));
  const { layers, paths } = layered([...readers.keys()], edges);
  const [width, height] = place(layers, texts);
  const picture = svg("svg", { role: "img", "aria-label": words, width, height, viewBox: `0 0 ${width} ${height}` });
  const arrow = svg("marker", { id: "order-arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8,
    markerUnits: "userSpaceOnUse", orient: "auto" }, svg("defs", {}, picture));
  svg("path", { d: "M0 0 8 4 0 8z" }, arrow);
  for (const path of paths) svg("path", { class: "edge", d: line(path), "marker-end": "url(#order-arrow)" }, picture);
  for (const { id, x, y, width: wide } of layers.flat().filter((each) => each.id !== null)) {
    const { text, label, note } = texts.get(id);
    const node = svg("g", { class: note ? "node group" : "node" }, picture);
    svg("rect", { x, y: y - NODE.height / 2, width: wide, height: NODE.height, rx: 6 }, node);
    const name = svg("text", { x: x + wide / 2, y, "text-anchor": "middle", "dominant-baseline": "central" }, node);
    svg("tspan", {}, name).textContent = text;
    if (note) Object.assign(svg("tspan", { class: "note", dx: 6 }, name), { textContent: note });
    svg("title", {}, node).textContent = note ? `${label}, ${note}` : label;
  }
  return picture;
}

/** A label, cut to the available room, and its width including its note. */
function fitted(label, note) {
  const letters = [...label];
  let text = label;
  while (pen.measureText(text).width > NODE.longest) text = `${letters.splice(-1) && letters.join("")}…`;
  const wide = pen.measureText(text).width + (note ? 6 + pen.measureText(note).width : 0);
  return { text, width: Math.ceil(wide) + 2 * NODE.padding };
}

/** Sets the coordinates of the places: x of the left edge, y of the middle. Returns total width and height. */
function place(layers, texts) {
  const tall = ({ id }) => (id === null ? GAP.lane : NODE.height);
  const heights = layers.map((layer) => layer.reduce((sum, each) => sum + tall(each) + GAP.down, -GAP.down));
  const height = Math.max(...heights);
  const gap = Math.max(GAP.across, Math.min(height / 8, 2 * GAP.across)); // keeps edges from being too steep in a tall drawing
  let x = EDGE;
  layers.forEach((layer, at) => {
    const width = Math.max(...layer.map(({ id }) => texts.get(id)?.width ?? 0));
    let y = EDGE + (height - heights[at]) / 2;
    for (const each of layer) {
      Object.assign(each, { x, width, y: y + tall(each) / 2 });
      y += tall(each) + GAP.down;
    }
    x += width + gap;
  });
  return [x - gap + EDGE, height + 2 * EDGE];
}

/** A curve from each place to the next, and a straight line through places that an edge only passes. */
function line([first, ...rest]) {
  let [x, y] = [first.x + first.width, first.y];
  let d = `M${x} ${y}`;
  for (const to of rest) {
    const half = (x + to.x) / 2;
    d += `C${half} ${y} ${half} ${to.y} ${to.x} ${to.y}`;
    [x, y] = [to.x, to.y];
    if (to.id === null) d += `H${(x += to.width)}`;
  }
  return d;
}

function svg(kind, attributes, parent = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

/** Makes the drawing scrollable with the keyboard if it does not fit. */
function stop() {
  for (const part of [box, list]) {
    if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) mark(part, "tabindex", 0);
    else part.removeAttribute("tabindex");
  }
}

const sizes = new ResizeObserver(stop);
for (const part of [box, list]) sizes.observe(part);
$("every-queue").addEventListener("change", show);
listen("show", show);
