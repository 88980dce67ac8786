// Communication with the server: the stream of snapshots, other requests, and the token if it needs one.

import { write } from "./elements.js";
import { $ } from "./state.js";

const RETRY = 1000; // milliseconds
const KEY = "mpmc_queue.token";
const base = new URL(".", document.baseURI);

let stream = null; // its AbortController
let isPaused = false;
let receive = () => {};
let resumed = () => {};

// The token stays in this tab. Browsers do not send the part of an address after #; it is removed from the address bar.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  sessionStorage.setItem(KEY, fragment.get("token"));
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`));
}
const headers = () => {
  const token = sessionStorage.getItem(KEY);
  // A text with other characters is no valid token, and could not be sent in a header.
  return /^[!-~]+$/.test(token ?? "") ? { Authorization: `Bearer ${token}` } : {};
};

function tell(name) {
  document.body.dataset.state = $("status").dataset.state = name;
  write($("status"), name);
  if (name !== "reconnecting") refused("");
}

/** Says why there is no stream. */
function refused(text) {
  write($("refusal"), text);
  $("refusal").hidden = text === "";
}

/** Whether snapshots are being received. */
export const isLive = () => stream !== null && !document.hidden;

/** Sends a request besides the stream; null when there is no answer. */
export async function ask(path) {
  try {
    const answer = await fetch(new URL(path, base), { headers: headers() });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // the stream detects and shows this
  }
}

function login(isWrong) {
  $("login").hidden = false;
  $("main").hidden = $("pause").hidden = true;
  write($("login-error"), isWrong ? "That is not the token." : "");
  tell("waiting for a token");
  $("token").focus();
}
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("token").value);
  $("token").value = "";
  $("login").hidden = true;
  connect();
});

/** Reads events until the stream ends; EventSource could not send the token. */
async function follow(controller) {
  let answer;
  try {
    answer = await fetch(new URL("api/events", base), { headers: headers(), signal: controller.signal });
  } catch (error) {
    if (!controller.signal.aborted) refused("The program does not answer. It may have ended. The page keeps trying.");
    throw error;
  }
  if (answer.status === 401) {
    login(sessionStorage.getItem(KEY) !== null);
    return false;
  }
  if (!answer.ok) {
    refused(await answer.text());
    throw new Error(`${answer.status}`);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return true;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    // If several arrived while the page was busy, only the last one is needed.
    const last = events.filter((event) => event.startsWith("data: ")).pop();
    if (last && !controller.signal.aborted) {
      $("main").hidden = $("pause").hidden = false;
      receive(JSON.parse(last.slice("data: ".length)));
      tell("live");
    }
  }
}

async function connect() {
  if (stream || isPaused) return;
  const controller = (stream = new AbortController());
  try {
    for (;;) {
      const began = Date.now();
      try {
        if (!(await follow(controller))) return;
        // The server ends a stream from time to time; connect again at once.
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

function stop() {
  stream?.abort();
  stream = null;
  tell("paused");
}

function goOn() {
  resumed();
  connect();
}

$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  write($("pause"), isPaused ? "Resume" : "Pause");
  if (isPaused) stop();
  else goOn();
});

// A hidden tab sends no requests.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop();
  else if (!isPaused) goOn();
});

/** Connects. take(snapshot) is called with each snapshot; missed() when some may have been missed. */
export function start(take, missed) {
  receive = take;
  resumed = missed;
  if (!document.hidden) connect();
}
