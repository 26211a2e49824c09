// The page of one deployment: what was asked, by whom, what happened when, and the evidence.

import { get, servicePath } from "./api.js";
import { h, render } from "./dom.js";
import { KIND, SHAPE, time, took } from "./format.js";
import { outcomeWord } from "./service.js";

const TOLD = new Set([
  "id", "service", "from", "to", "release", "generation", "kind", "reason", "actor", "outcome",
  "safe_to_stop", "rollback_possible_until", "requested_at", "applied_at", "drained_at", "finished_at",
]);

export class DeploymentView {
  constructor(service, id) {
    this.path = servicePath(service, `deployments/${encodeURIComponent(id)}`);
    this.element = h("article", { class: "deployment" }, h("p", { class: "quiet" }, "Loading"));
  }

  async update() {
    const one = await get(this.path);
    const name = `${KIND[one.kind] || one.kind} of ${one.service} to ${SHAPE[one.to]} ${one.to}`;
    render(
      this.element,
      h("p", {}, h("a", { href: "#/" }, "All services")),
      h("h1", {}, `Deployment ${one.id}: ${name}`),
      h("p", {}, outcomeWord(one), one.safe_to_stop ? `; ${one.from} may be stopped` : `; keep ${one.from} up`),
      list([
        ["Release", one.release || "–"],
        ["Who", one.actor],
        ["Why", one.reason || "–"],
        ["Generation", String(one.generation ?? "–")],
        ["Requested", time(one.requested_at)],
        ["Applied", stage(one.applied_at, one.requested_at)],
        ["Drained", stage(one.drained_at, one.applied_at)],
        ["Finished", stage(one.finished_at, one.applied_at)],
        ["Rollback possible until", time(one.rollback_possible_until)],
      ]),
      Object.entries(one).filter(([key]) => !TOLD.has(key)).map(([key, value]) => section(key, value)),
    );
  }
}

const stage = (at, before) => (at ? `${time(at)}${before ? `, after ${took(before, at)}` : ""}` : "not yet");

function list(rows) {
  return h("dl", { class: "facts" }, rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

// Whatever else the proxy tells of a deployment: objects as lists, rows of objects as tables.
function section(key, value) {
  if (value === null || value === undefined || value === "") return null;
  return h("section", {}, h("h2", {}, words(key)), show(value));
}

const words = (key) => key.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

function show(value) {
  if (Array.isArray(value)) {
    if (!value.length) return h("p", { class: "quiet" }, "None.");
    if (value.every((item) => item && typeof item === "object" && !Array.isArray(item))) return table(value);
    return h("p", {}, value.map((item) => (typeof item === "object" ? JSON.stringify(item) : String(item))).join(", "));
  }
  if (value && typeof value === "object") {
    return list(Object.entries(value).map(([key, inner]) => [words(key), inner && typeof inner === "object" ? show(inner) : String(inner ?? "–")]));
  }
  return h("p", {}, String(value));
}

function table(rows) {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return h(
    "div",
    { class: "table" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, keys.map((key) => h("th", { scope: "col" }, words(key))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, keys.map((key) => h("td", {}, cell(row[key])))))),
    ),
  );
}

const cell = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
