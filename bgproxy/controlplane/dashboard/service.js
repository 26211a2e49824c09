// One service: who is live, both environments, what is under way, charts, deployments, buttons.

import { CHARTS, chartFrame, drawChart, number, Timeline } from "./charts.js";
import * as actions from "./actions.js";
import { get, servicePath } from "./api.js";
import { h, render } from "./dom.js";
import { KIND, OUTCOME, PHASE, SHAPE, count, left, other, share, span, time } from "./format.js";

const COLORS = ["blue", "green"];
const HISTORY = 10;

export class ServiceView {
  constructor(name) {
    this.name = name;
    this.service = null;
    this.deployments = [];
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
    this.draw();
  }

  async updateHistory() {
    const { deployments } = await get(servicePath(this.name, `history?limit=${HISTORY}`));
    this.deployments = deployments;
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
    // While a release is watched, going back is a rollback; a second button that does nearly the
    // same would only make people hesitate.
    const isWatched = ["draining", "baking"].includes(this.service.phase) && this.service.deployment?.kind === "switch";
    rollback.classList.toggle("urgent", isWatched);
    go.hidden = isWatched;
    rollback.disabled = this.deployments.find((one) => one.applied_at)?.kind !== "switch";
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
      environment.locked_by ? h("p", { class: "bad" }, `Taken back after deployment ${environment.locked_by}: the next switch to it needs another release.`) : null,
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
    const { deployment: one, drain, bake, maintenance, paused_until: pausedUntil } = this.service;
    const lines = [];
    if (maintenance) {
      const letIn = maintenance.allow.length ? maintenance.allow.join(", ") : "nobody";
      lines.push(h("p", { class: "loud" }, `In maintenance since ${time(maintenance.since)} by ${maintenance.by}: “${maintenance.message}” Let in: ${letIn}.`));
    }
    if (pausedUntil) lines.push(h("p", { class: "loud" }, `Paused: new requests are held for at most ${left(pausedUntil)} more.`));
    if (one) {
      const what = `${KIND[one.kind]} to ${SHAPE[one.to]} ${one.to}${one.release ? ` (${one.release})` : ""} by ${one.actor}`;
      lines.push(h("p", {}, h("a", { href: deploymentHref(one) }, what), one.reason ? `: ${one.reason}` : ""));
      if (!one.applied_at) lines.push(h("p", {}, "Waiting for its backends and its checks; traffic has not moved yet."));
    }
    if (drain) lines.push(this.drainLine(drain));
    if (bake) lines.push(bakeLine(bake, other(bake.environment)));
    return lines;
  }

  drainLine({ environment, requests, tunnels, seconds }) {
    const still = `${count(requests)} ${requests === 1 ? "request" : "requests"} and ${count(tunnels)} ${tunnels === 1 ? "tunnel" : "tunnels"}`;
    return h("p", { class: "drain" }, `${SHAPE[environment]} ${environment} drains: ${still} still in flight, ${seconds.toFixed(1)} s after the switch.`);
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
  const why = [...new Set((backend.addresses || []).map((one) => one.answered).filter(Boolean))].join(", ");
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

// How far the bake is, and how much speaks against the release: two bars with their numbers.
function bakeLine(bake, old) {
  const rest = Math.max(0, bake.of_seconds - bake.seconds);
  return h(
    "div",
    { class: "bake" },
    h("label", {}, `Baking ${SHAPE[bake.environment]} ${bake.environment}: ${span(rest)} left `, meter(bake.seconds, bake.of_seconds)),
    h(
      "label",
      { class: bake.evidence > bake.evidence_needed / 2 ? "bad" : null },
      `Evidence of harm ${bake.evidence.toFixed(1)} of ${bake.evidence_needed} `,
      meter(bake.evidence, bake.evidence_needed),
    ),
    h("span", {}, `${count(bake.failures)} of ${count(bake.requests)} requests failed. Keep ${old} up until the bake is over.`),
    bake.way_back_healthy === false ? h("p", { class: "bad" }, `${old} is not healthy now: going back would not help.`) : null,
    bake.is_slow ? h("p", { class: "bad" }, "Answers are slower than the old side's were.") : null,
    bake.has_held ? h("p", { class: "bad" }, `Held: ${old} would be no better, so people have to decide.`) : null,
  );
}

const meter = (value, max) => h("progress", { max: String(max || 1), value: Math.min(value, max || 1).toFixed(2) });

