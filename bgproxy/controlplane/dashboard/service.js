// One service: who is live, both environments, what is under way, charts, deployments, buttons.

import { CHARTS, chartFrame, drawChart, number, Timeline } from "./charts.js";
import * as actions from "./actions.js";
import { get, servicePath } from "./api.js";
import { h, render } from "./dom.js";
import { KIND, OUTCOME, PHASE, SHAPE, count, facts, left, other, share, time } from "./format.js";

const COLORS = ["blue", "green"];
const HISTORY = 10;

export class ServiceView {
  constructor(name) {
    this.name = name;
    this.service = null;
    this.deployments = [];
    this.current = null;
    this.timeline = new Timeline();
    const id = `service-${name}`;
    this.title = h("h1", { id, tabindex: "-1" });
    this.subtitle = h("p", { class: "phase" });
    this.progress = h("div", { class: "progress" });
    this.sides = Object.fromEntries(COLORS.map((color) => [color, h("section", { class: `side ${color}` })]));
    this.charts = CHARTS.map((chart) => [chart, chartFrame(chart)]);
    this.history = h("div", { class: "table" });
    this.buttons = this.makeButtons();
    this.element = h(
      "article",
      { class: "service", "aria-labelledby": id },
      h("div", { class: "banner" }, h("div", {}, this.title, this.subtitle), h("p", { class: "buttons" }, Object.values(this.buttons))),
      this.progress,
      h("div", { class: "sides" }, Object.values(this.sides)),
      h("div", { class: "charts" }, this.charts.map(([, frame]) => frame)),
      h("h2", {}, "Deployments"),
      this.history,
    );
  }

  makeButtons() {
    const button = (text, act, attributes = {}) =>
      h("button", { type: "button", onclick: () => act(this), ...attributes }, text);
    return {
      verify: button("Verify", actions.verify),
      switch: button("Switch", actions.switchOver, { class: "go" }),
      rollback: button("Roll back", actions.rollback, { class: "back" }),
      pause: button("Pause", actions.pauseOrResume),
    };
  }

  get idle() {
    return other(this.service.active);
  }

  // Takes a fresh SERVICE and draws what depends on it.
  async update(service) {
    this.service = service;
    this.timeline.add(await get(servicePath(this.name, `timeline?after=${this.timeline.last}`)));
    if (this.current) this.current = await get(servicePath(this.name, `deployments/${this.current.id}`));
    this.draw();
  }

  async updateHistory() {
    const { deployments } = await get(servicePath(this.name, `history?limit=${HISTORY}`));
    this.deployments = deployments;
    this.current = deployments[0]?.outcome === null ? deployments[0] : null;
  }

  draw() {
    const { active, phase, generation } = this.service;
    this.element.dataset.active = active;
    this.element.dataset.phase = phase;
    render(this.title, h("span", { class: "name" }, this.name), " ", h("span", { class: "live" }, `${SHAPE[active]} ${active} is live`));
    render(this.subtitle, `Generation ${generation}, ${PHASE[phase] || phase}`);
    for (const color of COLORS) render(this.sides[color], this.side(color));
    render(this.progress, this.progressLines());
    this.drawButtons();
    const marks = this.deployments
      .filter((one) => one.applied_at)
      .map((one) => ({ at: Date.parse(one.applied_at) / 1000, color: one.to, text: `${KIND[one.kind]} to ${one.to}` }));
    for (const [chart, frame] of this.charts) drawChart(frame, chart, this.timeline, marks);
    render(this.history, this.historyTable());
  }

  drawButtons() {
    const { verify, switch: go, rollback, pause } = this.buttons;
    const isPaused = this.service.phase === "paused";
    verify.textContent = `Verify ${this.idle}`;
    go.textContent = `Switch to ${SHAPE[this.idle]} ${this.idle}`;
    rollback.textContent = `Roll back to ${SHAPE[this.idle]} ${this.idle}`;
    rollback.classList.toggle("urgent", ["draining", "baking"].includes(this.service.phase));
    rollback.disabled = !this.deployments.length;
    pause.textContent = isPaused ? "Resume" : "Pause";
  }

  side(color) {
    const environment = this.service.environments[color];
    const isLive = color === this.service.active;
    const healthy = environment.backends.filter((backend) => backend.healthy).length;
    const rate = this.timeline.recent(color, "requests");
    const failures = this.timeline.recent(color, "failures");
    return [
      h("h2", {}, h("span", { class: "shape", "aria-hidden": "true" }, SHAPE[color]), ` ${color} `, h("span", { class: "state" }, isLive ? "live" : "idle")),
      h("p", { class: "release" }, environment.release || "no release name"),
      h(
        "dl",
        {},
        fact("requests/s", rate === null ? "–" : number(Math.round(rate * 10) / 10)),
        fact("errors", rate ? share(failures, rate) : share(environment.errors_total, environment.requests_total), failures > 0),
        fact("in flight", count(environment.in_flight)),
        fact("healthy", `${healthy} of ${environment.backends.length}`, healthy < environment.backends.length),
      ),
      h("ul", { class: "backends" }, environment.backends.map(backendItem)),
    ];
  }

  // What is under way, in words and as bars; empty when nothing is.
  progressLines() {
    const one = this.current;
    const { phase } = this.service;
    if (!one) return phase === "paused" ? [h("p", {}, "Requests are held until the pause ends or is ended.")] : [];
    const what = `${KIND[one.kind]} to ${SHAPE[one.to]} ${one.to}${one.release ? ` (${one.release})` : ""} by ${one.actor}`;
    const lines = [h("p", {}, h("a", { href: deploymentHref(one) }, what), one.reason ? `: ${one.reason}` : "")];
    if (!one.applied_at) lines.push(h("p", {}, "Waiting for its backends and its checks; traffic has not moved."));
    else if (!one.drained_at) {
      const old = this.service.environments[one.from];
      lines.push(h("p", { class: "drain" }, `${one.from} drains: ${count(old.in_flight)} still in flight.`));
    }
    if (one.applied_at && one.rollback_possible_until && !one.finished_at) lines.push(this.bakeLine(one));
    return lines;
  }

  bakeLine(one) {
    const begin = Date.parse(one.applied_at);
    const end = Date.parse(one.rollback_possible_until);
    const done = Math.min(1, (Date.now() - begin) / (end - begin || 1));
    return h(
      "p",
      { class: "bake" },
      h("label", {}, `Baking, ${left(one.rollback_possible_until)} left. `, h("progress", { max: "1", value: done.toFixed(3) })),
      ` Keep ${one.from} up until then. `,
      evidence(one),
    );
  }

  historyTable() {
    if (!this.deployments.length) return h("p", { class: "quiet" }, "No deployments yet.");
    const head = ["When", "What", "Release", "Generation", "Outcome", "Who", "Why"];
    return h(
      "table",
      {},
      h("caption", { class: "unseen" }, `The last deployments of ${this.name}`),
      h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, this.deployments.map(deploymentRow)),
    );
  }
}

export const deploymentHref = (one) => `#/deployments/${encodeURIComponent(one.service)}/${encodeURIComponent(one.id)}`;

function fact(term, value, isBad = false) {
  return h("div", { class: isBad ? "bad" : null }, h("dt", {}, term), h("dd", {}, value));
}

function backendItem(backend) {
  const why = backend.detail || backend.last_result || "";
  return h(
    "li",
    { class: backend.healthy ? "healthy" : "unhealthy" },
    h("code", {}, backend.url),
    h("span", { class: "verdict" }, backend.healthy ? "✓ healthy" : "✕ unhealthy"),
    h("span", {}, `${count(backend.in_flight)} in flight`),
    !backend.healthy && why ? h("span", { class: "why" }, String(why)) : null,
  );
}

export function outcomeWord(one) {
  if (one.outcome === null) return h("span", { class: "outcome under-way" }, "under way");
  return h("span", { class: `outcome ${one.outcome}` }, OUTCOME[one.outcome] || one.outcome);
}

function deploymentRow(one) {
  const what = `${KIND[one.kind] || one.kind}: ${one.from} → ${SHAPE[one.to]} ${one.to}`;
  return h(
    "tr",
    {},
    h("td", {}, time(one.requested_at)),
    h("td", {}, h("a", { href: deploymentHref(one) }, what)),
    h("td", {}, one.release || "–"),
    h("td", {}, String(one.generation ?? "–")),
    h("td", {}, outcomeWord(one)),
    h("td", {}, one.actor),
    h("td", {}, one.reason || "–"),
  );
}

// The judge's evidence against what it decides at, where the proxy tells it.
export function evidence(one) {
  const bake = one.bake || one.explanation;
  if (!bake || typeof bake !== "object") return null;
  const shown = Object.fromEntries(Object.entries(bake).filter(([, value]) => typeof value !== "object"));
  return h("span", { class: "evidence" }, facts(shown));
}

