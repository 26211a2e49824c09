// The page: which view is shown, the refresh, the event stream, and the token.

import { Problem, followEvents, get, token } from "./api.js";
import { DeploymentView } from "./deployment.js";
import { h, render } from "./dom.js";
import { SHAPE, facts, time } from "./format.js";
import { ServiceView } from "./service.js";

const REFRESH = 1000; // ms
const EVENTS_SHOWN = 50;
const PROGRESS = new Set(["drain_progress", "bake_progress"]); // shown at the service itself
const OPENED = Date.now();
const LOUD = new Set(["switch", "rollback", "auto_rollback", "drained", "bake_finished", "fail_open", "hold", "worker_died"]);

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const tokenDialog = document.getElementById("token");

const state = { services: new Map(), deployment: null, isHistoryStale: true, isStreamLive: false, isAnswering: false };

function setConnection() {
  const [word, text] = !state.isAnswering
    ? ["lost", "✕ no answer from the proxy"]
    : state.isStreamLive
      ? ["live", "✓ live"]
      : ["lost", "… waiting for events"];
  connection.className = `connection ${word}`;
  if (connection.textContent !== text) connection.textContent = text;
}

async function refresh() {
  try {
    if (state.deployment) await state.deployment.update();
    else await refreshServices();
    state.isAnswering = true;
  } catch (error) {
    state.isAnswering = error instanceof Problem;
    if (error instanceof Problem) showProblem(error);
  }
  setConnection();
}

async function refreshServices() {
  const { services } = await get("/v1/services");
  const names = services.map((service) => service.name);
  if (names.join("\n") !== [...state.services.keys()].join("\n") || main.firstChild?.className !== "services") {
    state.services = new Map(names.map((name) => [name, state.services.get(name) || new ServiceView(name)]));
    main.replaceChildren(h("div", { class: "services" }, [...state.services.values()].map((view) => view.element)));
    state.isHistoryStale = true;
  }
  const isStale = state.isHistoryStale;
  state.isHistoryStale = false;
  for (const service of services) {
    const view = state.services.get(service.name);
    if (isStale) await view.updateHistory();
    await view.update(service);
  }
  document.title = services.map((service) => `${SHAPE[service.active]} ${service.name}`).join(" ") + " – bgproxy";
}

function showProblem(error) {
  if (error.status === 401) {
    askToken(token.get() ? "The token was not accepted." : "");
    return;
  }
  main.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message), h("p", {}, h("a", { href: "#/" }, "All services")));
}

function askToken(note) {
  if (tokenDialog.open) return;
  if (note) document.getElementById("token-text").textContent = note;
  tokenDialog.returnValue = "";
  tokenDialog.showModal();
}

tokenDialog.addEventListener("close", () => {
  const field = tokenDialog.querySelector("input");
  if (tokenDialog.returnValue === "go") token.set(field.value.trim());
  if (tokenDialog.returnValue === "forget") token.set("");
  field.value = "";
  refresh();
});
document.getElementById("token-button").addEventListener("click", () => askToken(""));

function onEvent(event) {
  if (PROGRESS.has(event.type)) return;
  state.isHistoryStale = true;
  const { at, service, ...rest } = event.data;
  const text = `${service ? `${service}: ` : ""}${event.type.replaceAll("_", " ")}`;
  const list = document.getElementById("events");
  list.querySelector(".quiet")?.remove();
  list.prepend(h("li", { class: LOUD.has(event.type) ? "loud" : null }, h("time", { datetime: at }, time(at)), " ", h("strong", {}, text), " ", facts(rest)));
  while (list.children.length > EVENTS_SHOWN) list.lastElementChild.remove();
  if (LOUD.has(event.type) && Date.parse(at) >= OPENED) {
    announce(`${text} ${facts(rest)}`);
    refresh();
  }
}

// Says something to screen readers; one message must not wipe out the one before it unheard.
function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.append(h("p", {}, text));
  if (announcer.children.length > 5) announcer.firstElementChild.remove();
}

function route() {
  const [, service, id] = location.hash.match(/^#\/deployments\/([^/]+)\/([^/]+)$/) || [];
  state.deployment = service ? new DeploymentView(decodeURIComponent(service), decodeURIComponent(id)) : null;
  if (state.deployment) main.replaceChildren(state.deployment.element);
  else render(main);
  refresh();
}

async function run() {
  addEventListener("hashchange", () => {
    route();
    main.focus(); // a link was followed: what it led to is what is read next
  });
  route();
  followEvents(onEvent, (word) => {
    state.isStreamLive = word === "live";
    state.isHistoryStale = true; // what happened meanwhile may have been missed
    setConnection();
  });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, REFRESH));
    if (!document.hidden) await refresh();
  }
}

run();
