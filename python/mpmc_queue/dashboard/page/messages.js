// The messages of the chosen queue, a page at a time, and the audit trail of one of them.

import { element, write } from "./elements.js";
import { $, chosenQueue, listen, state } from "./state.js";
import { ask, isLive } from "./stream.js";
import { DataTable } from "./tables.js";
import { bytes, count, seconds } from "./words.js";

const MESSAGES = 50; // on a page
const PEEK = 2000; // milliseconds

const table = new DataTable($("messages"), {
  key: (message) => message.seq,
  choose: (message) => showTrail(message.seq),
  isChosen: (message) => message.seq === state.seq,
  columns: [
    { key: "seq", label: "Seq", kind: "number", text: (message) => count(message.seq), level: () => "", isFixed: true },
    { key: "age", label: "Age", kind: "number", text: (message) => seconds(message.age), level: () => "", isFixed: true },
    { key: "size", label: "Size", kind: "number", text: (message) => bytes(message.size), level: () => "", isFixed: true },
    { key: "topic", label: "Topic", text: (message) => message.topic ?? "", hint: (message) => message.topic ?? "", isFixed: true },
    { key: "type", label: "Type", text: (message) => message.type, hint: (message) => message.type, isFixed: true },
    { key: "payload", label: "Payload", text: (message) => message.payload ?? "", hint: (message) => message.payload ?? "",
      isFixed: true },
  ],
});

// Messages of a queue on a server are not shown: they would have to be fetched from there.
const areElsewhere = () => chosenQueue()?.kind === "jetstream";

async function load(start = null) {
  const id = state.chosenId;
  if (id === null || areElsewhere()) return;
  const page = await ask(`api/messages?queue=${id}${start === null ? "" : `&start=${start}`}`);
  if (!page || id !== state.chosenId || (start === null) !== $("follow").checked) return;
  state.page = page;
  show();
}

function show() {
  const { page } = state;
  $("messages-section").hidden = state.chosenId === null;
  write($("messages-of"), "");
  document.querySelector("#messages-section .pager").hidden = areElsewhere();
  write($("no-messages"), areElsewhere() ? "The messages of a queue over JetStream are not shown here." : "No message is held.");
  if (areElsewhere()) {
    $("messages").hidden = true;
    $("no-messages").hidden = false;
  }
  if (!page) return;
  const rows = $("follow").checked ? [...page.messages].reverse() : page.messages;
  table.show(rows);
  $("messages").classList.toggle("no-payloads", !page.shows_payloads);
  $("messages").classList.toggle("no-topics", !rows.some((message) => message.topic !== null));
  $("messages").hidden = !rows.length;
  $("no-messages").hidden = rows.length > 0;
  const [first, last] = rows.length ? [page.messages[0].seq, page.messages[rows.length - 1].seq] : [0, 0];
  $("older").disabled = $("oldest").disabled = !rows.length || first <= page.first_seq;
  $("newer").disabled = $("follow").checked || !rows.length || last + 1 >= page.next_seq;
  write($("messages-of"),
    rows.length ? `${count(first)} to ${count(last)} of ${count(page.first_seq)} to ${count(page.next_seq - 1)}` : "");
}

function turn(start) {
  $("follow").checked = false;
  load(Math.max(0, start));
}
$("oldest").addEventListener("click", () => turn(state.page.first_seq));
$("older").addEventListener("click", () => turn(Math.max(state.page.first_seq, state.page.messages[0].seq - MESSAGES)));
$("newer").addEventListener("click", () => turn(state.page.messages[state.page.messages.length - 1].seq + 1));
$("follow").addEventListener("change", () => load($("follow").checked ? null : state.page?.start ?? 0));
setInterval(() => { if ($("follow").checked && isLive()) load(); }, PEEK);

async function showTrail(seq) {
  state.seq = seq;
  const message = await ask(`api/message?queue=${state.chosenId}&seq=${seq}`);
  if (state.seq !== seq) return;
  const trail = $("trail");
  trail.hidden = false;
  write(trail.querySelector("h3"), message ? `Audit trail of ${count(seq)}` : `Message ${count(seq)} has left`);
  $("topic").hidden = (message?.topic ?? null) === null;
  write($("topic"), `under ${message?.topic ?? ""}`);
  const list = trail.querySelector("ol");
  list.replaceChildren();
  const line = (text, className = "") => write(element("li", className, list), text);
  if (message?.left_out) line(`${count(message.left_out)} earlier reads are left out`, "zero");
  for (const event of message?.events ?? []) {
    const at = new Date(event.time * 1000).toISOString().slice(11, 23);
    const who = event.kind === "enqueue" ? "enqueued" : `read by ${event.consumer}${event.group === null ? "" : ` (${event.group})`}`;
    line(`${at}  ${who}`);
  }
  if (message && message.events.length === 1) line("no current consumer has read it, or reads are not recorded", "zero");
  $("payload").hidden = message?.payload === undefined;
  write($("payload"), message?.payload ?? "");
  show();
}

function hideTrail() {
  state.seq = null;
  $("trail").hidden = true;
}
$("close-trail").addEventListener("click", () => { hideTrail(); show(); });
$("trail").addEventListener("keydown", (event) => { if (event.key === "Escape") { hideTrail(); show(); } });

listen("chosen", () => {
  $("follow").checked = true;
  hideTrail();
  show();
  load();
});
listen("show", show);
