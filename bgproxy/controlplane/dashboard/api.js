// The admin API: calls with the tab's token, and the event stream over fetch.
// EventSource is not used because it cannot send an Authorization field.

const TOKEN = "bgproxy-token";
const SILENCE = 6_000; // ms after which a stream that has something to say each second is broken
const RETRY = 1_000;

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

// The event stream, kept open: it comes back by itself when it breaks, after the last event it had.
export class EventStream {
  // `address()` gives the path to ask for; `onEvent({id, type, data})` is called for each event,
  // those first that the proxy still has; `onState(isLive, error)` when it begins or breaks.
  constructor(address, onEvent, onState) {
    this.address = address;
    this.onEvent = onEvent;
    this.onState = onState;
    this.last = 0;
    this.abort = null;
    this.wake = null;
  }

  async run() {
    for (;;) {
      try {
        await this.read();
        this.onState(false, null);
      } catch (error) {
        if (!this.isRestarting) this.onState(false, error);
      }
      if (!this.isRestarting) {
        await new Promise((resolve) => {
          this.wake = resolve;
          setTimeout(resolve, RETRY);
        });
      }
      this.isRestarting = false;
    }
  }

  // Asks anew at once: the address or the token has changed.
  restart() {
    this.isRestarting = Boolean(this.abort);
    this.abort?.abort();
    this.wake?.();
  }

  async read() {
    const abort = (this.abort = new AbortController());
    let timer = setTimeout(() => abort.abort(), SILENCE);
    try {
      const headers = fields({ Accept: "text/event-stream", "Last-Event-ID": String(this.last) });
      const response = await fetch(this.address(), { headers, signal: abort.signal, cache: "no-store" });
      if (!response.ok) await refuse(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), SILENCE);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.take(block);
      }
    } finally {
      clearTimeout(timer);
      abort.abort();
      if (this.abort === abort) this.abort = null;
    }
  }

  take(block) {
    const event = parse(block);
    if (!event) return;
    if (event.id) this.last = event.id;
    this.onState(true, null);
    this.onEvent(event);
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
