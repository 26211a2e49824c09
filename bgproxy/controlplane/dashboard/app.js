// The page: which view is shown, the event stream that feeds it, and the token.

import { EventStream, Problem, get, token } from "./api.js";
import { DeploymentView } from "./deployment.js";
import { h } from "./dom.js";
import { EventList } from "./events.js";
import { showFavicon } from "./favicon.js";
import { SHAPE } from "./format.js";
import { Overview } from "./overview.js";
import { ServiceView } from "./service.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const tokenDialog = document.getElementById("token");
const tokenText = document.getElementById("token-text");
const usualTokenText = tokenText.textContent;

let view = null; // what `main` shows

const events = new EventList(document.getElementById("events"), document.getElementById("announcer"));
const stream = new EventStream(() => `/v1/events?${view?.query ?? "live=*"}`, onEvent, onState);

function onState(isLive, error) {
  const [word, text] = isLive
    ? ["live", "✓ live"]
    : error instanceof Problem
      ? ["lost", `✕ refused (${error.status})`]
      : ["lost", "✕ no answer from the proxy"];
  connection.className = `connection ${word}`;
  if (connection.textContent !== text) connection.textContent = text;
  document.body.classList.toggle("stale", !isLive);
  if (error instanceof Problem) showProblem(error);
  if (!isLive) view?.missedSomething();
}

function onEvent(event) {
  if (event.type === "live") show(event.data);
  else if (events.take(event)) view?.missedSomething();
}

// Draws what the stream brought, into the view that the address asks for.
async function show(data) {
  if (view === null) choose(data.services);
  const shown = view;
  try {
    await shown.update(data);
    // After a refusal that is over: what was shown in its place goes.
    if (shown === view && !shown.element.isConnected) main.replaceChildren(shown.element);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(error);
  }
  document.title = `${data.services.map((service) => `${SHAPE[service.active]} ${service.name}`).join(" ")} – bgproxy`;
  showFavicon(data.services);
}

// The view that fits the address, once it is known which services there are.
function choose(services) {
  const names = services.map((service) => service.name);
  const [, kind, service, id] = location.hash.match(/^#\/(deployments|services)\/([^/]+)(?:\/([^/]+))?$/) || [];
  const name = service ? decodeURIComponent(service) : names.length === 1 ? names[0] : null;
  if (kind === "deployments" && id) view = new DeploymentView(name, decodeURIComponent(id));
  else if (name) view = new ServiceView(name, names.length > 1);
  else view = new Overview();
  main.replaceChildren(view.element);
  stream.restart();
}

// Another address: what there is is asked for again, as services may have come or gone.
function route() {
  view = null;
  stream.restart();
}

function showProblem(error) {
  if (error.status === 401) {
    askToken(token.get() ? "The token was not accepted." : usualTokenText);
    return;
  }
  if (main.querySelector(".problem")?.textContent === error.message) return; // said already
  main.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message), h("p", {}, h("a", { href: "#/" }, "All services")));
}

function askToken(text) {
  if (tokenDialog.open) return;
  tokenText.textContent = text;
  tokenDialog.returnValue = "";
  tokenDialog.showModal();
}

tokenDialog.addEventListener("close", () => {
  const field = tokenDialog.querySelector("input");
  if (tokenDialog.returnValue === "go") token.set(field.value.trim());
  if (tokenDialog.returnValue === "forget") token.set("");
  field.value = "";
  route();
});
document.getElementById("token-button").addEventListener("click", () => askToken(usualTokenText));
addEventListener("hashchange", () => {
  route();
  main.focus(); // a link was followed: what it led to is what is read next
});

stream.run();
