// The page. Everything it shows is inserted as text, never as markup.

import { Chart } from "./charts.js";
import "./messages.js";
import "./order.js";
import { choose, named } from "./queues.js";
import "./readers.js";
import { $, announce, chosenQueue, listen, state } from "./state.js";
import { ask, start } from "./stream.js";
import { bytes, rate, seconds } from "./words.js";

const canvas = (name) => document.querySelector(`canvas[data-chart="${name}"]`);
const value = (label, field) => ({ label, value: (point) => point[field] });
const charts = [
  new Chart(canvas("rates"), [value("in", "enqueued"), value("out", "delivered")], rate),
  new Chart(canvas("memory"), [value("held", "bytes")], bytes, () => chosenQueue()?.max_bytes ?? null, "limit"),
  new Chart(canvas("lag"), [value("lag", "lag")], seconds, lifetime, "time to live"),
  new Chart(canvas("trouble"),
    [value("missed", "missed"), value("redelivered", "redelivered"), value("dead letters", "dead_lettered")], rate),
];

/** The limit drawn in the chart of the lag, once the lag comes near it. */
function lifetime() {
  const queue = chosenQueue();
  if (!queue?.expires) return null;
  return state.history.some((point) => point.lag > queue.ttl / 4) ? queue.ttl : null;
}

async function loadHistory() {
  const id = state.chosenId;
  if (id === null) return;
  const answer = await ask(`api/history?queue=${id}`);
  if (!answer || id !== state.chosenId) return;
  const loaded = answer.points.map((values) => Object.fromEntries(values.map((each, at) => [answer.fields[at], each])));
  const last = loaded.length ? loaded[loaded.length - 1].time : 0;
  state.history = [...loaded, ...state.history.filter((point) => point.time > last)];
  showCharts();
}

function remember(queue) {
  // A new viewer gets the last sample, which may be in the history already.
  if (state.snapshot.time <= (state.history.at(-1)?.time ?? 0)) return;
  state.history.push({
    time: state.snapshot.time, enqueued: queue.enqueued_rate, delivered: queue.delivered_rate, bytes: queue.bytes,
    lag: queue.lag, missed: queue.missed_rate, redelivered: queue.redelivered_rate, dead_lettered: queue.dead_lettered_rate,
  });
  while (state.history.length && state.history[0].time < state.snapshot.time - 310) state.history.shift();
}

function showCharts() {
  if (!$("chosen").hidden) for (const chart of charts) chart.show(state.history);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showCharts);

function take(data) {
  const before = state.snapshot;
  const rows = (fields, values) => values.map((row) => Object.fromEntries(row.map((each, at) => [fields[at], each])));
  state.snapshot = {
    ...data,
    queues: rows(data.queue_fields, data.queues),
    readers: rows(data.reader_fields, data.readers),
  };
  if (before?.boot !== state.snapshot.boot || !chosenQueue()) {
    // The server changed or the queue is gone: choose the queue of the same name, the one in the address, or the first.
    const same = state.snapshot.queues.find((queue) => queue.name === state.chosen);
    choose((same ?? named() ?? state.snapshot.queues[0])?.id, false);
  }
  const queue = chosenQueue();
  if (queue) remember(queue);
  announce("show");
}

listen("chosen", loadHistory);
listen("show", showCharts);
start(take, loadHistory);
