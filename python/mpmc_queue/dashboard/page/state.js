// What the page shows, and the listeners that are called when it changes.

export const $ = (id) => document.getElementById(id);

export const state = {
  snapshot: null,
  chosen: null, // name of the chosen queue; its id is only valid until the server changes
  chosenId: null,
  history: [],
  page: null, // page of messages
  seq: null, // seq of the message whose audit trail is shown
};

export const chosenQueue = () => state.snapshot?.queues.find((queue) => queue.id === state.chosenId) ?? null;

const listeners = new Map();

/** Calls back on each announcement of this event: "show" (redraw everything), "chosen" (another queue, or none). */
export function listen(what, call) {
  listeners.set(what, [...(listeners.get(what) ?? []), call]);
}

export function announce(what) {
  for (const call of listeners.get(what) ?? []) call();
}
