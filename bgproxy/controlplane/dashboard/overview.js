// Several services: one card each, with what has to be seen at a glance and a link to the rest.

import { number } from "./charts.js";
import { h, render } from "./dom.js";
import { PHASE_SIGN, SHAPE, count, other, phaseText, share } from "./format.js";
import { warnings } from "./progress.js";

export class Overview {
  constructor() {
    this.query = "live=*";
    this.cards = h("div", { class: "cards" });
    this.element = h("div", {}, h("h1", { class: "unseen" }, "Services"), this.cards);
    this.before = new Map(); // totals of the view before, to make rates of
  }

  missedSomething() {}

  update({ services }) {
    const now = performance.now();
    render(this.cards, services.map((service) => this.card(service, now)));
  }

  card(service, now) {
    const { name, active, phase } = service;
    const live = service.environments[active];
    const rates = this.rates(name, active, live, now);
    return h(
      "article",
      { class: "card", "data-active": active, "data-phase": phase },
      h(
        "div",
        { class: "banner" },
        h("h2", {}, h("a", { href: `#/services/${encodeURIComponent(name)}` }, h("span", { class: "name" }, name), " ", h("span", { class: "live" }, `${SHAPE[active]} ${active} is live`))),
      ),
      h("p", { class: "phase" }, `${PHASE_SIGN[phase] || ""} ${phaseText(service)}`),
      h("p", {}, `${live.release || "no release name"}; ${rates}`),
      h("p", {}, health(service, active), "; ", health(service, other(active))),
      warnings(service),
    );
  }

  rates(name, active, { requests_total: requests, errors_total: errors, in_flight: inFlight }, now) {
    const key = `${name} ${active}`;
    const before = this.before.get(key);
    if (!before || now - before.now > 900) this.before.set(key, { requests, errors, now, last: before });
    const base = this.before.get(key).last;
    if (!base || requests < base.requests) return `${count(inFlight)} in flight`;
    const rate = ((requests - base.requests) * 1000) / Math.max(now - base.now, 1);
    return `${number(Math.round(rate * 10) / 10)} requests/s, ${share(errors - base.errors, requests - base.requests)} errors, ${count(inFlight)} in flight`;
  }
}

function health({ environments }, color) {
  const { backends } = environments[color];
  const healthy = backends.filter((backend) => backend.healthy).length;
  const text = `${SHAPE[color]} ${color} ${healthy} of ${backends.length} healthy`;
  return h("span", { class: healthy < backends.length ? "bad" : null }, healthy < backends.length ? `✕ ${text}` : text);
}
