// One service: who is live, both environments, what is under way, charts, deployments, buttons.

import * as actions from "./actions.js";
import { get, servicePath } from "./api.js";
import { CHARTS, Timeline, chartFrame, drawChart, duration, number } from "./charts.js";
import { h, render } from "./dom.js";
import { KIND, OUTCOME, PHASE_SIGN, SHAPE, count, other, phaseText, share, time } from "./format.js";
import { deploymentHref, takenBack, underWay, warnings } from "./progress.js";

const COLORS = ["blue", "green"];
const HISTORY = 10;

export class ServiceView {
  constructor(name, isOneOfSeveral) {
    this.name = name;
    this.service = null;
    this.deployments = [];
    this.isHistoryStale = true;
    this.timeline = new Timeline();
    const id = `service-${name}`;
    this.title = h("h1", { id });
    this.subtitle = h("p", { class: "phase" });
    this.notes = h("div", { class: "progress" });
    this.sides = Object.fromEntries(COLORS.map((color) => [color, h("section", { class: `side ${color}`, "aria-label": color })]));
    this.charts = CHARTS.map((chart) => [chart, chartFrame(chart)]);
    this.history = h("div", { class: "table", role: "region", "aria-label": "Deployments", tabindex: "0" });
    this.buttons = this.makeButtons();
    this.element = h(
      "article",
      { class: "service", "aria-labelledby": id },
      h("div", { class: "banner" }, h("div", {}, this.title, this.subtitle), h("div", { class: "buttons" }, Object.values(this.buttons))),
      isOneOfSeveral ? h("p", {}, h("a", { href: "#/" }, "All services")) : null,
      this.notes,
      h("div", { class: "sides" }, Object.values(this.sides)),
      h("h2", {}, "The last minutes"),
      h("p", { class: "legend quiet" }, h("span", { class: "blue" }, "● blue, solid"), h("span", { class: "green" }, "▲ green, dashed"), h("span", {}, "┊ the pointer moved")),
      h("div", { class: "charts" }, this.charts.map(([, frame]) => frame)),
      h("h2", {}, "Deployments"),
      this.history,
    );
  }

  makeButtons() {
    const button = (text, act, attributes = {}) =>
      h("button", { type: "button", onclick: () => act(this), ...attributes }, text);
    return {
      approve: button("Approve", actions.approve, { class: "go" }),
      reject: button("Reject", actions.reject),
      verify: button("Verify", actions.verify),
      switch: button("Switch", actions.switchOver, { class: "go" }),
      rollback: button("Roll back", actions.rollback, { class: "back" }),
      pause: button("Pause", actions.pauseOrResume),
    };
  }

  // What the event stream is asked for: this service, and the samples that are not here yet.
  get query() {
    return `live=${encodeURIComponent(this.name)}&samples_after=${this.timeline.last}`;
  }

  get idle() {
    return other(this.service.active);
  }

  // Something has happened, or may have: the deployments are read again with the next view.
  missedSomething() {
    this.isHistoryStale = true;
  }

  // Takes a fresh view in and draws it.
  async update({ services, timeline }) {
    if (!timeline) return; // the first view, of all services, has none
    this.timeline.add(timeline);
    if (this.isHistoryStale) {
      this.isHistoryStale = false;
      const { deployments } = await get(servicePath(this.name, `history?limit=${HISTORY}`));
      this.deployments = deployments;
    }
    this.service = services[0];
    this.draw();
  }

  draw() {
    const { service, deployments } = this;
    const { active, phase, generation } = service;
    this.element.dataset.active = active;
    this.element.dataset.phase = phase;
    render(this.title, h("span", { class: "name" }, this.name), " ", h("span", { class: "live" }, `${SHAPE[active]} ${active} is live`));
    const release = service.environments[active].release;
    render(
      this.subtitle,
      release ? h("span", { class: "chip" }, release) : null,
      h("span", { class: "chip state" }, `${PHASE_SIGN[phase] || ""} ${phaseText(service)}`),
      h("span", {}, `generation ${generation}`),
    );
    render(this.notes, takenBack(deployments, service), warnings(service), underWay(service));
    for (const color of COLORS) render(this.sides[color], this.side(color));
    this.drawButtons();
    const marks = deployments
      .filter((one) => one.applied_at)
      .map((one) => ({ at: Date.parse(one.applied_at) / 1000, color: one.to, text: `${KIND[one.kind]} to ${one.to}` }));
    for (const [chart, frame] of this.charts) drawChart(frame, chart, this.timeline, marks);
    render(this.history, this.historyTable());
  }

  drawButtons() {
    const { approve, reject, verify, switch: go, rollback, pause } = this.buttons;
    const label = (button, text) => button.textContent === text || (button.textContent = text);
    label(verify, `Verify ${this.idle}`);
    label(go, `Switch to ${SHAPE[this.idle]} ${this.idle}`);
    label(rollback, `Roll back to ${SHAPE[this.idle]} ${this.idle}`);
    // While a release is watched, going back is a rollback; a second button that does nearly the
    // same would only make people hesitate. Where nothing can be taken back there is no button for it.
    const { deployment: one } = this.service;
    const isWatched = one?.kind === "switch" && Boolean(one.applied_at);
    rollback.classList.toggle("urgent", isWatched);
    const isHeld = Boolean(one?.held);
    approve.hidden = reject.hidden = !isHeld;
    go.hidden = isWatched || isHeld;
    rollback.hidden = this.deployments.find((one) => one.applied_at)?.kind !== "switch";
    label(pause, this.service.phase === "paused" ? "Resume" : "Pause");
  }

  side(color) {
    const environment = this.service.environments[color];
    const isLive = color === this.service.active;
    const healthy = environment.backends.filter((backend) => backend.healthy).length;
    const { requests, failures, p50, p99 } = this.timeline.recent(color);
    return [
      h("h2", {}, h("span", { class: "shape", "aria-hidden": "true" }, SHAPE[color]), ` ${color} `, h("span", { class: "state" }, isLive ? "live" : "idle")),
      h("p", { class: "release" }, environment.release || "no release name"),
      environment.locked_by ? h("p", { class: "bad" }, `✕ Taken back after deployment ${environment.locked_by}: the next switch to it needs another release.`) : null,
      h(
        "dl",
        {},
        fact("requests/s", requests === null ? "–" : number(Math.round(requests * 10) / 10)),
        fact("errors", requests ? share(failures, requests) : "–", failures > 0),
        fact("in flight", inFlight(environment)),
        fact("median", p50 === null ? "–" : duration(p50)),
        fact("99th perc.", p99 === null ? "–" : duration(p99)),
        fact("healthy", `${healthy} of ${environment.backends.length}`, healthy < environment.backends.length),
      ),
      h("ul", { class: "backends" }, environment.backends.map(backendItem)),
      h("p", { class: "totals quiet" }, `${count(environment.requests_total)} requests since the proxy started, ${count(environment.errors_total)} failed`),
    ];
  }

  historyTable() {
    if (!this.deployments.length) return h("p", { class: "quiet" }, "No deployments yet.");
    const head = ["When", "What", "Release", "Outcome", "Who", "Why", "Generation"];
    return h(
      "table",
      {},
      h("caption", { class: "unseen" }, `The last deployments of ${this.name}`),
      h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, this.deployments.map(deploymentRow)),
    );
  }
}

function fact(term, value, isBad = false) {
  return h("div", { class: isBad ? "bad" : null }, h("dt", {}, term), h("dd", {}, isBad ? "✕ " : "", value));
}

function inFlight({ in_flight: all, tunnels_in_flight: tunnels }) {
  return tunnels ? `${count(all - tunnels)} + ${count(tunnels)} ${tunnels === 1 ? "tunnel" : "tunnels"}` : count(all);
}

function backendItem(backend) {
  const addresses = backend.addresses || [];
  const why = [...new Set(addresses.map((one) => one.answered).filter(Boolean))].join(", ");
  const probed = addresses.map((one) => one.probed_at).filter(Boolean).sort().at(-1);
  return h(
    "li",
    { class: backend.healthy ? "healthy" : "unhealthy" },
    h("code", {}, backend.url),
    h("span", { class: "verdict" }, backend.healthy ? "✓ healthy" : "✕ unhealthy"),
    h("span", {}, `${count(backend.in_flight)} in flight`),
    !backend.healthy && why ? h("span", { class: "why" }, `${why}${probed ? `, probed at ${time(probed)}` : ""}`) : null,
  );
}

export function outcomeWord(one) {
  if (one.outcome === null) return h("span", { class: "outcome under-way" }, "… under way");
  const [sign, text] = OUTCOME[one.outcome] || ["", one.outcome];
  return h("span", { class: `outcome ${one.outcome}` }, `${sign} ${text}`);
}

function deploymentRow(one) {
  const what = `${KIND[one.kind] || one.kind}: ${one.from} → ${SHAPE[one.to]} ${one.to}`;
  return h(
    "tr",
    {},
    h("td", {}, time(one.requested_at)),
    h("td", {}, h("a", { href: deploymentHref(one) }, what)),
    h("td", {}, one.release || "–"),
    h("td", {}, outcomeWord(one)),
    h("td", {}, one.actor),
    h("td", {}, one.reason || "–"),
    h("td", {}, String(one.generation ?? "–")),
  );
}
