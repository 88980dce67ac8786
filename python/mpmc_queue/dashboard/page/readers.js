// Consumers and groups, of the chosen queue or of all queues.

import { tag, write } from "./elements.js";
import { nearness } from "./queues.js";
import { $, listen, state } from "./state.js";
import { DataTable, names } from "./tables.js";
import { UNKNOWN, bytes, called, count, or, rate, seconds } from "./words.js";

const ROWS = 100; // shown until the user asks for more
let isShownAll = false;

const figure = (key, label, text, level) => ({ key, label, kind: "number", text, level });
// For queues in this process every figure is known: a missing one does not apply.
const known = (reader, key, words) => (reader.isRemote && reader[key] === null ? UNKNOWN : or(reader[key], words));
const OF_GROUPS = ["pending", "redelivered", "dead_lettered"];
const applies = (reader, key) => reader.is_group || !OF_GROUPS.includes(key);
// A member has no position of its own: see its group.
const own = (key, label, words, level) => figure(key, label,
  (reader) => (reader.group === null && applies(reader, key) ? known(reader, key, words) : ""), level);
const grown = (key, label, level) => own(key, label, count,
  (reader) => (reader.group !== null || !reader[key] ? "zero" : level));

const table = new DataTable($("readers"), {
  key: (reader) => reader.id,
  sort: { key: "lag", sign: -1 },
  sorter: $("reader-sorter"),
  changed: show,
  // Ties: the reader with more unread messages first, a group before its members.
  tie: (left, right) => (right.unread - left.unread) || (right.is_group - left.is_group) ||
    left.label.localeCompare(right.label, undefined, { numeric: true }) || (left.id < right.id ? -1 : 1),
  columns: [
    names("label", "Name", (reader) => reader.label, (reader) => [
      ...(reader.is_group ? [["group", ""]] : reader.group === null ? [] : [[`in ${reader.group}`, ""]]),
      ...(reader.stalled ? [["stalled", "warn"]] : []),
    ], tag),
    { key: "topics", label: "Topics", text: (reader) => reader.topics ?? "", hint: (reader) => reader.topics ?? "" },
    { key: "queueName", label: "Queue", kind: "name", text: (reader) => reader.queueName },
    own("lag", "Lag", seconds),
    figure("loss", "Next miss in",
      (reader) => (reader.group !== null ? "" : reader.lag === null ? UNKNOWN : or(reader.loss, seconds)),
      (reader) => nearness(reader.loss, reader.ttl)),
    own("unread", "Unread", count),
    own("unread_bytes", "Bytes", bytes),
    grown("missed", "Missed", "bad"),
    figure("read_rate", "Read/s", (reader) => (reader.is_group ? "" : known(reader, "read_rate", rate))),
    figure("read", "Read", (reader) => (reader.is_group ? "" : known(reader, "read", count))),
    figure("filtered", "Filtered", (reader) => or(reader.filtered, count)),
    figure("idle", "Idle", (reader) => known(reader, "idle", seconds) || "never read", (reader) => (reader.stalled ? "warn" : "")),
    figure("pending", "Pending", (reader) => or(reader.pending, count)),
    grown("redelivered", "Redelivered", ""),
    grown("dead_lettered", "Dead letters", "warn"),
  ],
});

function show() {
  const { snapshot } = state;
  if (!snapshot) return;
  const queues = new Map(snapshot.queues.map((queue) => [queue.id, queue]));
  const all = $("every-queue").checked || state.chosenId === null;
  const wanted = $("reader-filter").value.trim().toLowerCase();
  const readers = snapshot.readers.filter((reader) => all || reader.queue === state.chosenId);
  for (const reader of readers) {
    reader.label = called(reader);
    reader.queueName = queues.get(reader.queue)?.name ?? "";
    reader.ttl = queues.get(reader.queue)?.ttl ?? null;
    reader.isRemote = queues.get(reader.queue)?.kind === "jetstream";
  }
  const found = table.sorted(wanted
    ? readers.filter((reader) => `${reader.label}\n${reader.group ?? ""}`.toLowerCase().includes(wanted))
    : readers);
  const shown = isShownAll ? found : found.slice(0, ROWS);
  $("readers").classList.toggle("one-queue", !all);
  $("readers").classList.toggle("no-groups", !found.some((reader) => reader.is_group));
  $("readers").classList.toggle("no-topics", !found.some((reader) => reader.topics !== null));
  table.show(shown);
  $("readers").hidden = !found.length;
  const missing = snapshot.readers_in_all - snapshot.readers.length;
  write($("readers-count"), found.length
    ? `${count(shown.length)} of ${count(found.length)}` +
      (missing ? `; ${count(missing)} more, which lag less, are not sent` : "")
    : readers.length ? "No name matches." : "There are no readers.");
  $("show-all").hidden = found.length <= ROWS;
  write($("show-all"), isShownAll ? `Show ${count(ROWS)}` : "Show all");
  write($("readers-of"), $("every-queue").checked ? "" : state.chosen ?? "");
}

$("every-queue").addEventListener("change", show);
$("reader-filter").addEventListener("input", show);
$("show-all").addEventListener("click", () => { isShownAll = !isShownAll; show(); });
listen("show", show);
