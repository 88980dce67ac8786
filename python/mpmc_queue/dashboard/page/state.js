// What the page shows, and who is told when it changes.

export const $ = (id) => document.getElementById(id);

export const state = {
  snapshot: null,
  chosen: null, // the name of a queue, and its id while the server is the same
  chosenId: null,
  history: [],
  page: null, // of messages
  seq: null, // of the message whose trail is shown
};

export const chosenQueue = () => state.snapshot?.queues.find((queue) => queue.id === state.chosenId) ?? null;

const listeners = new Map();

/** Calls back whenever this is announced: "show" (draw everything anew), "chosen" (another queue, or none). */
export function listen(what, call) {
  listeners.set(what, [...(listeners.get(what) ?? []), call]);
}

export function announce(what) {
  for (const call of listeners.get(what) ?? []) call();
}
