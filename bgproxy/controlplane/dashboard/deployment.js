// The page of one deployment: what was asked, by whom, what happened when, and the evidence.

import { get, servicePath } from "./api.js";
import { duration } from "./charts.js";
import { h, render } from "./dom.js";
import { evidenceSection } from "./evidence.js";
import { KIND, SHAPE, percent, time, took } from "./format.js";
import { outcomeWord } from "./service.js";

export class DeploymentView {
  constructor(service, id) {
    this.query = `live=${encodeURIComponent(service)}&samples_after=999999999`; // no samples at all
    this.path = servicePath(service, `deployments/${encodeURIComponent(id)}`);
    this.isFinal = false; // nothing more will happen to it, so it need not be asked for again
    this.element = h("article", { class: "deployment" }, h("p", { class: "quiet" }, "Loading"));
  }

  // Something has happened; the next view, which comes with it, reads the deployment again anyway.
  missedSomething() {}

  async update() {
    if (this.isFinal) return;
    const one = await get(this.path);
    this.isFinal = one.outcome !== null;
    const { bake, ...rest } = one.explanation || {};
    const name = `${KIND[one.kind] || one.kind} of ${one.service} to ${SHAPE[one.to]} ${one.to}`;
    render(
      this.element,
      h("p", {}, h("a", { href: "#/" }, "All services")),
      h("h1", {}, `Deployment ${one.id}: ${name}`),
      h("p", {}, outcomeWord(one), one.outcome === null || one.safe_to_stop ? (one.safe_to_stop ? `; ${one.from} may be stopped` : `; keep ${one.from} up`) : ""),
      one.reason ? h("p", {}, `Why: ${one.reason}`) : null,
      list([
        ["Release", one.release || "–"],
        ["Who", one.actor],
        ["Generation", String(one.generation ?? "–")],
        ["Requested", time(one.requested_at)],
        ["Applied", stage(one.applied_at, one.requested_at)],
        ["Drained", stage(one.drained_at, one.applied_at)],
        ["Finished", stage(one.finished_at, one.applied_at || one.requested_at)],
        ["Rollback possible until", time(one.rollback_possible_until)],
      ]),
      bake ? evidenceSection(bake) : null,
      Object.entries(rest).map(([key, value]) => section(key, value)),
    );
  }
}

const stage = (at, before) => (at ? `${time(at)}${before ? `, after ${took(before, at)}` : ""}` : "not yet");

const list = (rows) => h("dl", { class: "facts" }, rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));

const words = (key) => key.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

// Whatever else the proxy tells: an object as a list of facts, rows of objects as a table.
function section(key, value) {
  if (value === null || value === undefined || value === "") return null;
  return h("section", {}, h("h2", {}, words(key)), show(value));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function show(value) {
  if (Array.isArray(value) && value.length && value.every(isObject)) return table(value);
  if (isObject(value)) return list(Object.entries(value).map(([key, inner]) => [words(key), plain(inner, key)]));
  return h("p", {}, plain(value));
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
      h("tbody", {}, rows.map((row) => h("tr", {}, keys.map((key) => h("td", {}, plain(row[key], key)))))),
    ),
  );
}

// One value in words; shares and seconds are known by their keys.
function plain(value, key = "") {
  if (value === null || value === undefined || value === "") return "–";
  if (Array.isArray(value)) return value.map((one) => plain(one)).join(", ") || "none";
  if (isObject(value)) return Object.entries(value).map(([name, inner]) => `${words(name)}: ${plain(inner, name)}`).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return /(^|_)at$/.test(key) ? time(value) : String(value);
  if (/(^|_)share$/.test(key)) return percent(value);
  if (/(^|_)(seconds|bound|timeout|latency)$/.test(key)) return duration(value);
  return String(Number(value.toPrecision(4)));
}
