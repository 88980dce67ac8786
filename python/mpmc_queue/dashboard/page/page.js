// The page. Whatever it shows is put in as text, never as markup.

import { Chart } from "./charts.js";
import { cells, choice, element, mark, Table, write } from "./elements.js";
import { bytes, count, or, rate, seconds } from "./words.js";

const ROWS = 100; // of consumers and groups, until more are asked for
const MESSAGES = 50; // on a page
const RETRY = 1000; // milliseconds
const PEEK = 2000;

const $ = (id) => document.getElementById(id);
const base = new URL(".", document.baseURI);

const state = {
  snapshot: null,
  chosen: null, // the name of a queue, and its id while the server is the same
  chosenId: null,
  sort: { key: "lag", sign: -1 },
  shownAll: false,
  history: [],
  page: null, // of messages
  seq: null, // of the message whose trail is shown
};

// --- queues -----------------------------------------------------------------------------------------------------------

const queueTable = new Table(
  $("queues"),
  (queue) => {
    const row = choice(() => choose(queue.id));
    const [name, memory, ...rest] = cells(row, ["name", "", ...Array(9).fill("number")]);
    const label = element("span", "", name);
    const tag = element("span", "tag", name);
    const box = element("div", "memory", memory);
    const bar = element("div", "bar", box);
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", "memory");
    const fill = element("div", "", bar);
    return { element: row, name, label, tag, bar, fill, text: element("span", "dim", box), rest };
  },
  (row, queue) => {
    write(row.label, queue.name);
    if (row.name.title !== queue.name) row.name.title = queue.name;
    write(row.tag, queue.closed ? "closed" : "");
    const share = queue.max_bytes ? queue.bytes / queue.max_bytes : 1;
    const percent = Math.min(100, share * 100);
    const width = `${percent}%`;
    if (row.width !== width) row.fill.style.width = row.width = width;
    mark(row.bar, "data-level", share < 0.7 ? "good" : share < 0.9 ? "warn" : "bad");
    mark(row.bar, "aria-valuenow", percent.toFixed(0));
    const audit = `${bytes(queue.audit_bytes)} of read records, ${queue.audit_complete ? "complete" : "shortened for want of room"}`;
    if (row.text.title !== audit) row.text.title = audit;
    write(row.text, `${bytes(queue.bytes)} of ${bytes(queue.max_bytes)}`);
    const lost = (total, now) => (now > 0 ? `${count(total)} (${rate(now)})` : count(total));
    const texts = [
      [count(queue.items) + (queue.max_items === null ? "" : ` of ${count(queue.max_items)}`)],
      [seconds(queue.oldest)],
      [rate(queue.enqueued_rate)],
      [rate(queue.delivered_rate)],
      [lost(queue.expired, queue.expired_rate), queue.expired],
      [lost(queue.dropped, queue.dropped_rate), queue.dropped],
      [lost(queue.rejected, queue.rejected_rate), queue.rejected, queue.rejected_rate],
      [count(queue.consumers)],
      [seconds(queue.lag)],
    ];
    texts.forEach(([text, total, bad], index) =>
      write(row.rest[index], text, `number${total === 0 ? " dim" : bad > 0 ? " bad" : ""}`));
    mark(row.element, "aria-selected", queue.id === state.chosenId);
  },
);

function choose(id) {
  const queue = state.snapshot?.queues.find((each) => each.id === id);
  if (!queue) return;
  state.chosenId = id;
  state.chosen = queue.name;
  state.history = [];
  state.page = null;
  $("follow").checked = true;
  hideTrail();
  show();
  loadHistory();
  loadMessages();
}

// --- consumers and groups -----------------------------------------------------------------------------------------------

const readerTable = new Table(
  $("readers"),
  () => {
    const row = element("tr");
    const [name, queue, ...rest] = cells(row, ["name", "name", ...Array(10).fill("number")]);
    return { element: row, name, label: element("span", "", name), tag: element("span", "tag", name), queue, rest };
  },
  (row, reader) => {
    write(row.label, reader.label, reader.name === null ? "dim" : "");
    if (row.name.title !== reader.label) row.name.title = reader.label;
    write(row.tag, reader.is_group ? "group" : reader.group === null ? "" : `in ${reader.group}`);
    write(row.queue, reader.queueName);
    // The position of a member is its group's, and told there.
    const own = reader.group === null;
    const texts = [
      own ? seconds(reader.lag) : "",
      own ? count(reader.unread) : "",
      own ? bytes(reader.unread_bytes) : "",
      own ? count(reader.missed) : "",
      or(reader.read_rate, rate),
      or(reader.read, count),
      reader.is_group ? "" : or(reader.idle, seconds) || "never read",
      or(reader.pending, count),
      or(reader.redelivered, count),
      or(reader.dead_lettered, count),
    ];
    texts.forEach((text, index) =>
      write(row.rest[index], text, index === 3 && own && reader.missed > 0 ? "number bad" : "number"));
  },
);

const words = new Intl.Collator(undefined, { numeric: true });
function compare(left, right) {
  const { key, sign } = state.sort;
  const [a, b] = [left[key], right[key]];
  let order = 0;
  if (a === null || b === null) order = (a === null) - (b === null); // last, either way
  else if (typeof a === "string") order = sign * words.compare(a, b);
  else order = sign * (a - b);
  // Where it is the same: who has more to read, a group before its members.
  return order || (right.unread - left.unread) || (right.is_group - left.is_group) ||
    words.compare(left.label, right.label) || (left.id < right.id ? -1 : 1);
}

function showReaders() {
  const { snapshot } = state;
  const names = new Map(snapshot.queues.map((queue) => [queue.id, queue.name]));
  const all = $("every-queue").checked || state.chosenId === null;
  const wanted = $("reader-filter").value.trim().toLowerCase();
  const readers = snapshot.readers.filter((reader) => all || reader.queue === state.chosenId);
  for (const reader of readers) {
    reader.label = reader.name ?? `unnamed ${reader.id.slice(0, 8)}`;
    reader.queueName = names.get(reader.queue) ?? "";
  }
  const found = wanted
    ? readers.filter((reader) => `${reader.label}\n${reader.group ?? ""}`.toLowerCase().includes(wanted))
    : readers;
  found.sort(compare);
  const shown = state.shownAll ? found : found.slice(0, ROWS);
  $("readers").classList.toggle("one-queue", !all);
  $("readers").classList.toggle("no-groups", !found.some((reader) => reader.is_group));
  readerTable.show(shown, (reader) => reader.id);
  const missing = snapshot.readers_in_all - snapshot.readers.length;
  write($("readers-count"), found.length
    ? `${count(shown.length)} of ${count(found.length)}` +
      (missing ? `; ${count(missing)} more, which lag less, are not sent` : "")
    : readers.length ? "No name is like that." : "Nobody reads here.");
  $("show-all").hidden = found.length <= ROWS;
  write($("show-all"), state.shownAll ? `Show ${count(ROWS)}` : "Show all");
}

for (const button of $("readers").querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    const isText = key === "label" || key === "queueName";
    state.sort = { key, sign: state.sort.key === key ? -state.sort.sign : isText ? 1 : -1 };
    markSort();
    show();
  });
}

function markSort() {
  for (const button of $("readers").querySelectorAll("th button")) {
    const heading = button.closest("th");
    if (button.dataset.sort !== state.sort.key) heading.removeAttribute("aria-sort");
    else heading.setAttribute("aria-sort", state.sort.sign < 0 ? "descending" : "ascending");
  }
}

// --- charts -----------------------------------------------------------------------------------------------------------

const chosenQueue = () => state.snapshot?.queues.find((queue) => queue.id === state.chosenId) ?? null;
const canvas = (name) => document.querySelector(`canvas[data-chart="${name}"]`);
const value = (label, field) => ({ label, value: (point) => point[field] });
const charts = [
  new Chart(canvas("rates"), [value("in", "enqueued"), value("out", "delivered")], rate),
  new Chart(canvas("memory"), [value("held", "bytes")], bytes, () => chosenQueue()?.max_bytes ?? null),
  new Chart(canvas("lag"), [value("lag", "lag")], seconds),
  new Chart(canvas("losses"), [value("expired", "expired"), value("dropped", "dropped"), value("rejected", "rejected")], rate),
];

async function loadHistory() {
  const id = state.chosenId;
  const answer = await ask(`api/history?queue=${id}`);
  if (!answer || id !== state.chosenId) return;
  const loaded = answer.points.map((values) => Object.fromEntries(values.map((each, at) => [answer.fields[at], each])));
  const last = loaded.length ? loaded[loaded.length - 1].time : 0;
  state.history = [...loaded, ...state.history.filter((point) => point.time > last)];
  showCharts();
}

function remember(queue) {
  // The last sample is sent again to who begins to look.
  if (state.snapshot.time <= (state.history.at(-1)?.time ?? 0)) return;
  state.history.push({
    time: state.snapshot.time, enqueued: queue.enqueued_rate, delivered: queue.delivered_rate, bytes: queue.bytes,
    lag: queue.lag, expired: queue.expired_rate, dropped: queue.dropped_rate, rejected: queue.rejected_rate,
  });
  while (state.history.length && state.history[0].time < state.snapshot.time - 310) state.history.shift();
}

function showCharts() {
  if (!$("charts").hidden) for (const chart of charts) chart.show(state.history);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showCharts);

// --- messages ---------------------------------------------------------------------------------------------------------

const messageTable = new Table(
  $("messages"),
  (message) => {
    const row = choice(() => showTrail(message.seq));
    return { element: row, cells: cells(row, ["number", "number", "number", "type", "payload payload-column"]) };
  },
  (row, message) => {
    const texts = [count(message.seq), seconds(message.age), bytes(message.size), message.type, message.payload ?? ""];
    texts.forEach((text, index) => write(row.cells[index], text));
    row.cells[3].title = message.type;
    row.cells[4].hidden = message.payload === undefined;
    row.cells[4].title = message.payload ?? "";
    mark(row.element, "aria-selected", message.seq === state.seq);
  },
);

async function loadMessages(start = null) {
  const id = state.chosenId;
  if (id === null) return;
  const page = await ask(`api/messages?queue=${id}${start === null ? "" : `&start=${start}`}`);
  if (!page || id !== state.chosenId || (start === null) !== $("follow").checked) return;
  state.page = page;
  showMessages();
}

function showMessages() {
  const { page } = state;
  if (!page) return;
  const rows = $("follow").checked ? [...page.messages].reverse() : page.messages;
  messageTable.show(rows, (message) => message.seq);
  document.querySelector("#messages th.payload-column").hidden = !page.shows_payloads;
  $("messages").hidden = !rows.length;
  $("no-messages").hidden = rows.length > 0;
  const [first, last] = rows.length ? [page.messages[0].seq, page.messages[rows.length - 1].seq] : [0, 0];
  $("older").disabled = $("oldest").disabled = !rows.length || first <= page.first_seq;
  $("newer").disabled = $("follow").checked || !rows.length || last + 1 >= page.next_seq;
  write(document.querySelector("#messages-section .of"),
    rows.length ? `${count(first)} to ${count(last)} of ${count(page.first_seq)} to ${count(page.next_seq - 1)}` : "");
}

function turn(start) {
  $("follow").checked = false;
  loadMessages(Math.max(0, start));
}
$("oldest").addEventListener("click", () => turn(state.page.first_seq));
$("older").addEventListener("click", () => turn(Math.max(state.page.first_seq, state.page.messages[0].seq - MESSAGES)));
$("newer").addEventListener("click", () => turn(state.page.messages[state.page.messages.length - 1].seq + 1));
$("follow").addEventListener("change", () => loadMessages($("follow").checked ? null : state.page?.start ?? 0));
setInterval(() => { if ($("follow").checked && !document.hidden && stream) loadMessages(); }, PEEK);

async function showTrail(seq) {
  state.seq = seq;
  const message = await ask(`api/message?queue=${state.chosenId}&seq=${seq}`);
  if (state.seq !== seq) return;
  const trail = $("trail");
  trail.hidden = false;
  write(trail.querySelector("h3"), message ? `Audit trail of ${count(seq)}` : `Message ${count(seq)} has left`);
  const list = trail.querySelector("ol");
  list.replaceChildren();
  const line = (text, className = "") => write(element("li", className, list), text);
  if (message?.left_out) line(`${count(message.left_out)} earlier reads are left out`, "dim");
  for (const event of message?.events ?? []) {
    const at = new Date(event.time * 1000).toISOString().slice(11, 23);
    const who = event.kind === "enqueue" ? "enqueued" : `read by ${event.consumer}${event.group === null ? "" : ` (${event.group})`}`;
    line(`${at}  ${who}`);
  }
  if (message && message.events.length === 1) line("nobody there now has read it, or reads leave no records", "dim");
  showMessages();
}

function hideTrail() {
  state.seq = null;
  $("trail").hidden = true;
}
$("close-trail").addEventListener("click", () => { hideTrail(); showMessages(); });

// --- everything -------------------------------------------------------------------------------------------------------

function show() {
  const { snapshot } = state;
  if (!snapshot) return;
  const wanted = $("queue-filter").value.trim().toLowerCase();
  const queues = wanted ? snapshot.queues.filter((queue) => queue.name.toLowerCase().includes(wanted)) : snapshot.queues;
  queueTable.show(queues, (queue) => queue.id);
  const sum = (field) => snapshot.queues.reduce((total, queue) => total + queue[field], 0);
  write($("totals"), `${count(snapshot.queues.length)} queue${snapshot.queues.length === 1 ? "" : "s"}, ` +
    `${count(sum("consumers"))} consumer${sum("consumers") === 1 ? "" : "s"}, ` +
    `${rate(sum("enqueued_rate"))} in, ${rate(sum("delivered_rate"))} out`);
  $("no-queues").hidden = snapshot.queues.length > 0;
  const isChosen = state.chosenId !== null;
  $("charts").hidden = $("messages-section").hidden = !isChosen;
  write(document.querySelector("#charts .of"), state.chosen ?? "");
  write(document.querySelector("[aria-labelledby=readers-title] .of"), $("every-queue").checked ? "" : state.chosen ?? "");
  showReaders();
  showCharts();
}

function take(data) {
  const before = state.snapshot;
  const rows = (fields, values) => values.map((row) => Object.fromEntries(row.map((each, at) => [fields[at], each])));
  const snapshot = {
    ...data,
    queues: rows(data.queue_fields, data.queues),
    readers: rows(data.reader_fields, data.readers),
  };
  state.snapshot = snapshot;
  const isNew = before?.boot !== snapshot.boot;
  if (isNew || !chosenQueue()) {
    // Another server, or the queue has gone: the one of that name, or the first.
    const same = snapshot.queues.find((queue) => queue.name === state.chosen) ?? snapshot.queues[0];
    if (same) choose(same.id);
    else Object.assign(state, { chosenId: null, chosen: null, page: null, history: [] });
  }
  const queue = chosenQueue();
  if (queue) remember(queue);
  show();
}

$("every-queue").addEventListener("change", show);
$("queue-filter").addEventListener("input", show);
$("reader-filter").addEventListener("input", show);
$("show-all").addEventListener("click", () => { state.shownAll = !state.shownAll; show(); });

// --- the server -------------------------------------------------------------------------------------------------------

// The token stays in this tab. The part of an address behind # is sent to nobody; it is taken off the address bar at once.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  sessionStorage.setItem("mpmc_queue.token", fragment.get("token"));
  history.replaceState(null, "", location.pathname + location.search);
}
const headers = () => {
  const token = sessionStorage.getItem("mpmc_queue.token");
  // What is no token cannot be sent as one, either.
  return /^[!-~]+$/.test(token ?? "") ? { Authorization: `Bearer ${token}` } : {};
};

function tell(name) {
  document.body.dataset.state = $("status").dataset.state = name;
  write($("status"), name);
}

/** Asks for something besides the stream; null when there is no answer. */
async function ask(path) {
  try {
    const answer = await fetch(new URL(path, base), { headers: headers() });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // the stream notices, and says so
  }
}

function login(isWrong) {
  $("login").hidden = false;
  $("main").hidden = true;
  write($("login-error"), isWrong ? "That is not the token." : "");
  tell("waiting for a token");
  $("token").focus();
}
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("mpmc_queue.token", $("token").value);
  $("token").value = "";
  $("login").hidden = true;
  connect();
});

let stream = null; // what ends it

/** Reads events until the stream ends; EventSource could not send the token. */
async function follow(controller) {
  const answer = await fetch(new URL("api/events", base), { headers: headers(), signal: controller.signal });
  if (answer.status === 401) {
    login(sessionStorage.getItem("mpmc_queue.token") !== null);
    return false;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return true;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    // Of several that came while the page was busy, the last one says it all.
    const last = events.filter((event) => event.startsWith("data: ")).pop();
    if (last) {
      $("main").hidden = false;
      take(JSON.parse(last.slice("data: ".length)));
      tell("live");
    }
  }
}

async function connect() {
  if (stream) return;
  const controller = (stream = new AbortController());
  try {
    for (;;) {
      const began = Date.now();
      try {
        if (!(await follow(controller))) return;
        // It ends by itself now and then, and goes on at once.
        if (Date.now() - began > 5000) continue;
      } catch (error) {
        if (controller.signal.aborted) return;
      }
      tell("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
      if (controller.signal.aborted) return;
    }
  } finally {
    if (stream === controller) stream = null;
  }
}

// A tab that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.abort();
    stream = null;
    tell("paused");
  } else {
    if (state.chosenId !== null) loadHistory();
    connect();
  }
});

markSort();
if (!document.hidden) connect();
