// The queues: a summary line, the list, and the settings of the chosen queue.

import { element, mark, tag, write } from "./elements.js";
import { $, announce, chosenQueue, listen, state } from "./state.js";
import { DataTable, names } from "./tables.js";
import { UNKNOWN, bytes, count, or, rate, seconds } from "./words.js";

const RECENT = 60; // seconds for which a queue is marked "missed" after a reader missed messages

const isRemote = (queue) => queue.kind === "jetstream";
// A JetStream queue may have no limit in bytes.
const memory = (queue) => (queue.max_bytes ? queue.bytes / queue.max_bytes : queue.max_bytes === null ? 0 : 1);
const share = (queue) => Math.max(memory(queue), queue.max_items ? queue.items / queue.max_items : 0);

// A queue that drops its oldest messages makes room for new ones: it is full on purpose.
const makesRoom = (queue) => queue.drops_oldest === true;
const isFull = (queue) => queue.rejected_rate > 0 || (share(queue) >= 0.98 && !makesRoom(queue));
const isMissing = (queue) => queue.missed_ago !== null && queue.missed_ago < RECENT;
const isStalled = (queue) => queue.stalled > 0;
const isWaited = (queue) => queue.waiting_producers > 0;
const kinds = { full: isFull, waiting: isWaited, missing: isMissing, stalled: isStalled };
const words = { full: "full", waiting: "with waiting producers", missing: "with missed messages", stalled: "stalled" };

const RETENTION = { limits: "kept until its TTL", interest: "leaves once read by all", workqueue: "leaves once a group is done with it" };
const OVERFLOW = { reject: "refuses new messages when full", drop_oldest: "drops its oldest when full" };

const figure = (key, label, text, level, hint) => ({ key, label, kind: "number", text, level, hint });
const total = (key, label, level, hint) => figure(key, label, (queue) => count(queue[key]),
  (queue) => (queue[key] === 0 ? "zero" : level(queue)), hint);
const grows = (what) => (queue) => (queue[`${what}_rate`] > 0 ? `now ${rate(queue[`${what}_rate`])}` : "");

const table = new DataTable($("queues"), {
  key: (queue) => queue.id,
  choose: (queue) => choose(queue.id, true),
  isChosen: (queue) => queue.id === state.chosenId,
  sorter: $("queue-sorter"),
  changed: show,
  columns: [
    names("name", "Queue", (queue) => queue.name, (queue) => [
      ...(isRemote(queue) ? [["JetStream", ""]] : []),
      ...states(queue),
      ...(isMissing(queue) ? [["missed", "bad"]] : []),
      ...(isFull(queue) ? [["full", "warn"]] : []),
      ...(isWaited(queue) ? [["producers wait", "warn"]] : []),
      ...(isStalled(queue) ? [["stalled", "warn"]] : []),
    ], tag),
    { key: "bytes", label: "Memory", kind: "number", make: makeBar, update: showBar,
      value: (queue) => (queue.max_bytes && queue.bytes !== null ? queue.bytes / queue.max_bytes : null),
      hint: (queue) => `${bytes(queue.bytes)} of ${bytes(queue.max_bytes)}` },
    figure("items", "Messages",
      (queue) => count(queue.items) + (queue.max_items === null ? "" : ` of ${count(queue.max_items)}`),
      () => ""),
    figure("enqueued_rate", "In", (queue) => rate(queue.enqueued_rate)),
    figure("delivered_rate", "Out", (queue) => rate(queue.delivered_rate)),
    figure("lag", "Lag", (queue) => seconds(queue.lag)),
    figure("loss", "Next miss in", (queue) => (queue.lag === null ? UNKNOWN : or(queue.loss, seconds)), (queue) => nearness(queue.loss, queue.ttl),
      () => "until the reader furthest behind misses its next message, if it reads nothing"),
    total("missed", "Missed", (queue) => (isMissing(queue) ? "bad" : ""), grows("missed")),
    total("redelivered", "Redelivered", (queue) => (queue.redelivered_rate > 0 ? "warn" : ""), grows("redelivered")),
    total("dead_lettered", "Dead letters", (queue) => (queue.dead_lettered_rate > 0 ? "bad" : "warn"), grows("dead_lettered")),
    total("rejected", "Refused", (queue) => (queue.rejected_rate > 0 ? "bad" : ""), grows("rejected")),
    total("consumers", "Consumers", () => ""),
  ],
});

function states(queue) {
  return [...(queue.closed ? [["closed", ""]] : []), ...(queue.problem !== null && !queue.closed ? [["unreachable", "bad"]] : [])];
}

/** A CSS class for how soon messages will be missed. */
export function nearness(loss, ttl) {
  if (loss === null || ttl === null) return "zero";
  return loss < 0.2 * ttl ? "bad" : loss < 0.5 * ttl ? "warn" : "";
}

function makeBar(cell) {
  const box = element("div", "memory", cell);
  const bar = element("div", "bar", box);
  mark(bar, "role", "meter");
  mark(bar, "aria-label", "memory");
  return { bar, fill: element("div", "", bar), text: element("span", "", box) };
}

function showBar(parts, queue) {
  const part = memory(queue);
  const percent = Math.min(100, part * 100);
  const width = `${percent}%`;
  if (parts.width !== width) parts.fill.style.width = parts.width = width;
  mark(parts.bar, "data-level", part < 0.7 || makesRoom(queue) ? "good" : part < 0.9 ? "warn" : "bad");
  mark(parts.bar, "aria-valuenow", percent.toFixed(0));
  write(parts.text, bytes(queue.bytes));
}

/** Shows another queue; if the user chose it, also puts it into the address bar. */
export function choose(id, isByHand) {
  const queue = state.snapshot?.queues.find((each) => each.id === id);
  Object.assign(state, { chosenId: queue?.id ?? null, chosen: queue?.name ?? null, history: [], page: null, seq: null });
  if (queue && isByHand) {
    const fragment = `#${new URLSearchParams({ queue: queue.name })}`;
    if (fragment !== location.hash) history.pushState(null, "", fragment);
  }
  announce("chosen");
  announce("show");
}

/** The queue named in the address bar, if it exists. */
export function named() {
  const name = new URLSearchParams(location.hash.slice(1)).get("queue");
  return name === null ? undefined : state.snapshot?.queues.find((queue) => queue.name === name);
}

addEventListener("popstate", () => {
  const queue = named();
  if (queue && queue.id !== state.chosenId) choose(queue.id, false);
});

function show() {
  const { snapshot } = state;
  if (!snapshot) return;
  const pressed = document.querySelector("#summary button[aria-pressed=true]")?.dataset.kind;
  const wanted = $("queue-filter").value.trim().toLowerCase();
  const queues = snapshot.queues.filter((queue) =>
    (!wanted || queue.name.toLowerCase().includes(wanted)) && (!pressed || kinds[pressed](queue)));
  table.show(table.sorted(queues));
  $("no-queues").hidden = queues.length > 0;
  write($("no-queues"), snapshot.queues.length ? "No queue matches." :
    "There are no queues. The dashboard keeps no queue alive: one that the program no longer refers to disappears.");
  showSummary(snapshot.queues);
  showSettings();
}

function showSummary(queues) {
  const sum = (field) => queues.reduce((all, queue) => all + queue[field], 0);
  const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
  write($("totals"), `${many(queues.length, "queue")}, ${many(sum("consumers"), "consumer")}, ` +
    `${rate(sum("enqueued_rate"))} in, ${rate(sum("delivered_rate"))} out`);
  for (const button of document.querySelectorAll("#summary button")) {
    const number = queues.filter(kinds[button.dataset.kind]).length;
    write(button, `${count(number)} ${words[button.dataset.kind]}`);
    mark(button, "data-level", number ? button.dataset.kind === "missing" ? "bad" : "warn" : "none");
    button.disabled = !number && button.getAttribute("aria-pressed") !== "true";
    if (button.dataset.kind === "waiting") button.hidden = button.disabled;
  }
}

for (const button of document.querySelectorAll("#summary button")) {
  button.addEventListener("click", () => {
    const isPressed = button.getAttribute("aria-pressed") === "true";
    for (const each of document.querySelectorAll("#summary button")) mark(each, "aria-pressed", each === button && !isPressed);
    show();
  });
}
$("queue-filter").addEventListener("input", show);

function showSettings() {
  const queue = chosenQueue();
  $("chosen").hidden = !queue;
  if (!queue) return;
  write($("chosen-title"), queue.name);
  tag($("chosen-tags"), [...(isRemote(queue) ? [["JetStream", ""]] : []), ...states(queue)]);
  $("problem").hidden = queue.problem === null;
  write($("problem"), `There are no figures: ${queue.problem}.`);
  const groups = queue.groups ? `, ${count(queue.groups)} group${queue.groups === 1 ? "" : "s"}` : "";
  const texts = {
    ttl: queue.ttl === null ? "no limit" : seconds(queue.ttl) + (queue.expires ? "" : ", but nothing expires now"),
    loss: queue.lag === null ? UNKNOWN : queue.loss === null ? queue.lag > 0 ? "never by time" : "all is read" : seconds(queue.loss),
    retention: queue.retention === "limits" && queue.ttl === null ? "kept, read or not" : RETENTION[queue.retention] ?? UNKNOWN,
    limits: `${queue.max_bytes === null ? "any number of bytes" : bytes(queue.max_bytes)}, ${queue.max_items === null ? "any number of messages" : `${count(queue.max_items)} messages`}`,
    overflow: OVERFLOW[queue.overflow] ?? UNKNOWN,
    held: `${bytes(queue.bytes)}, ${count(queue.items)} message${queue.items === 1 ? "" : "s"}` +
      (queue.items ? `, the oldest ${seconds(queue.oldest)} old` : ""),
    readers: isRemote(queue) ? `${count(queue.consumers)} consumers and groups`
      : `${count(queue.consumers)} consumer${queue.consumers === 1 ? "" : "s"}${groups}`,
    enqueued: count(queue.enqueued),
    left: queue.expired === null ? UNKNOWN : `${count(queue.expired)} expired, ${count(queue.dropped)} dropped`,
    refused: count(queue.rejected),
    waiting: count(queue.waiting_producers),
    audit: queue.audit_bytes === null ? UNKNOWN : `${bytes(queue.audit_bytes)}, ${queue.audit_complete ? "complete" : "shortened, because it needs more than max_bytes"}`,
    created: new Date(queue.created * 1000).toLocaleString(),
  };
  if (queue.problem !== null) for (const name of ["ttl", "limits", "held", "readers"]) texts[name] = UNKNOWN;
  const levels = { loss: queue.loss === null ? "" : nearness(queue.loss, queue.ttl), waiting: isWaited(queue) ? "warn" : "" };
  for (const [name, text] of Object.entries(texts)) {
    write($("settings").querySelector(`[data-setting=${name}]`), text, levels[name] ?? "");
  }
}

listen("show", show);
