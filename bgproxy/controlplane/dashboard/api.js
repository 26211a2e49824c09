// The admin API: calls with the tab's token, and the event stream over fetch.
// EventSource is not used because it cannot send an Authorization field.

const TOKEN = "bgproxy-token";
const SILENCE = 40_000; // ms without even a heartbeat after which a stream counts as broken
const RETRY = 2_000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN) || "",
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

// An answer that is not 200; `problem` is the RFC 9457 document.
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
    this.kind = String(problem.type || "").split(":").pop();
  }
}

function fields(extra = {}) {
  return token.get() ? { ...extra, Authorization: `Bearer ${token.get()}` } : extra;
}

async function refuse(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    problem = { detail: `The proxy answered ${response.status}.` };
  }
  throw new Problem(response.status, problem);
}

async function call(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) await refuse(response);
  return response.json();
}

export const get = (path) => call(path, { headers: fields(), cache: "no-store" });

export const post = (path, body) =>
  call(path, {
    method: "POST",
    headers: fields({ "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID?.() || String(Math.random()) }),
    body: JSON.stringify(body),
  });

export const servicePath = (name, rest = "") =>
  `/v1/services/${encodeURIComponent(name)}${rest ? `/${rest}` : ""}`;

// Calls `onEvent({id, type, data})` for each event, those first that the proxy still has, and
// `onState("live" | "lost", error)` when the stream begins or breaks.
export async function followEvents(onEvent, onState) {
  let last = 0;
  for (;;) {
    try {
      await readStream(last, (event) => {
        last = event.id;
        onEvent(event);
      }, () => onState("live"));
      onState("lost", null);
    } catch (error) {
      onState("lost", error);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

async function readStream(last, onEvent, onOpen) {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENCE);
  try {
    const headers = fields({ Accept: "text/event-stream", "Last-Event-ID": String(last) });
    const response = await fetch("/v1/events", { headers, signal: abort.signal, cache: "no-store" });
    if (!response.ok) await refuse(response);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) onEvent(event);
      }
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

function parse(block) {
  const found = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) found[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  if (found.data === undefined) return null;
  return { id: Number(found.id), type: found.event || "message", data: JSON.parse(found.data) };
}
