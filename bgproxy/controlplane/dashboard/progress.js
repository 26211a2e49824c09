// What is under way or out of the ordinary, in words first and as bars beside them.

import { h, s } from "./dom.js";
import { KIND, SHAPE, count, left, other, percent, span, time, took } from "./format.js";

export const deploymentHref = (one) => `#/deployments/${encodeURIComponent(one.service)}/${encodeURIComponent(one.id)}`;

// What people have to know before they touch the service, as a list; null when there is nothing.
export function warnings(service) {
  const { maintenance, paused_until: pausedUntil, locked, environments, active } = service;
  const lines = [];
  if (environments[active].backends.every((backend) => !backend.healthy)) {
    lines.push(["bad", "✕", `Every backend of ${active} looks down. Traffic is still sent to all of them.`]);
  }
  if (maintenance) {
    const letIn = maintenance.allow.length ? maintenance.allow.join(", ") : "nobody";
    lines.push(["loud", "!", `In maintenance since ${time(maintenance.since)} by ${maintenance.by}: “${maintenance.message}” Let in: ${letIn}.`]);
  }
  if (pausedUntil) lines.push(["loud", "Ⅱ", `Paused: new requests are held for at most ${left(pausedUntil)} more.`]);
  if (locked) {
    const until = locked.until ? `until ${time(locked.until)}` : "until somebody unlocks it";
    lines.push(["loud", "!", `Locked by ${locked.by} since ${time(locked.since)}, ${until}: “${locked.reason}” Switches are refused, rollbacks are not.`]);
  }
  if (!lines.length) return null;
  return h("ul", { class: "notes" }, lines.map(([level, sign, text]) => h("li", { class: level }, h("span", { "aria-hidden": "true" }, sign), " ", text)));
}

// The newest deployment was an automatic rollback: what happened stays in sight until the next one.
export function takenBack(deployments, service) {
  const newest = deployments.find((one) => one.applied_at);
  if (newest?.kind !== "auto_rollback" || service.deployment?.kind === "switch") return null;
  const failed = deployments.find((one) => one.kind === "switch" && one.outcome === "rolled_back");
  const lived = failed && took(failed.applied_at, newest.applied_at);
  const release = failed?.release ? ` (${failed.release})` : "";
  return h(
    "div",
    { class: "taken-back", role: "note" },
    h("p", { class: "what" }, `↩ ${SHAPE[newest.from]} ${newest.from}${release} was taken back by itself at ${time(newest.applied_at)}${lived ? `, ${lived} after its switch` : ""}.`),
    h("p", {}, newest.reason),
    failed ? h("p", {}, h("a", { href: deploymentHref(failed) }, "Charts, evidence and samples of this release")) : null,
  );
}

// The deployment under way: who and why, what it waits for, its drain and its bake.
export function underWay({ deployment: one, drain, bake }) {
  if (!one && !drain && !bake) return null;
  const lines = [];
  if (one) {
    const what = `${KIND[one.kind]} to ${SHAPE[one.to]} ${one.to}${one.release ? ` (${one.release})` : ""} by ${one.actor}`;
    lines.push(h("p", {}, h("a", { href: deploymentHref(one) }, what), one.reason ? `: ${one.reason}` : ""));
    if (one.irreversible) lines.push(h("p", { class: "loud" }, `Said to be irreversible: ${one.irreversible}. The judge only alerts.`));
    if (one.held) lines.push(heldLine(one));
    else if (!one.applied_at) lines.push(h("p", {}, "Waiting for its backends and its checks; traffic has not moved yet."));
    if (one.approved_by) lines.push(h("p", {}, `Approved by ${one.approved_by}.`));
  }
  if (drain) lines.push(drainLine(drain));
  if (bake) lines.push(bakeLines(bake));
  return lines;
}

function heldLine({ actor, held }) {
  const end = held.on_timeout === "proceed" ? "then it goes on by itself" : "then it is cancelled";
  return h("p", { class: "loud" }, `! Verified, and waits for the approval of somebody other than ${actor}: ${left(held.until)} more, ${end}. Traffic has not moved yet.`);
}

function drainLine({ environment, requests, tunnels, seconds, timeout, tunnel_timeout: tunnelTimeout }) {
  const still = `${count(requests)} ${requests === 1 ? "request" : "requests"} and ${count(tunnels)} ${tunnels === 1 ? "tunnel" : "tunnels"}`;
  const most = tunnels ? Math.max(timeout ?? 0, tunnelTimeout ?? 0) : timeout;
  const rest = most ? ` What is left in ${span(most - seconds)} is closed and counted.` : "";
  return h(
    "div",
    { class: "meter drain" },
    h("p", {}, h("strong", {}, `${SHAPE[environment]} ${environment} drains:`), ` ${still} still in flight, ${seconds.toFixed(1)} s after the switch.${rest}`),
    bar(seconds, most, `Time that the drain of ${environment} may take`),
  );
}

function bakeLines(bake) {
  const old = other(bake.environment);
  const rest = Math.max(0, bake.of_seconds - bake.seconds);
  const isNear = bake.evidence > bake.evidence_needed / 2;
  return [
    h(
      "div",
      { class: "meter bake" },
      h("p", {}, h("strong", {}, `Baking ${SHAPE[bake.environment]} ${bake.environment}: ${span(rest)} left.`), ` Keep ${old} up until then.`),
      bar(bake.seconds, bake.of_seconds, "How much of the bake is over"),
    ),
    h(
      "div",
      { class: `meter evidence${isNear ? " bad" : ""}` },
      h("p", {}, h("strong", {}, `Evidence of harm ${bake.evidence.toFixed(1)} of ${bake.evidence_needed}.`), ` ${count(bake.failures)} of ${count(bake.requests)} requests failed${bake.requests ? `, ${percent(bake.failures / bake.requests)}` : ""}.`),
      bar(bake.evidence, bake.evidence_needed, "Evidence of harm, out of what decides"),
      typeof bake.harm_level === "number" ? levels(bake) : null,
    ),
    h(
      "ul",
      { class: "notes" },
      bake.mode === "watch" ? h("li", { class: "loud" }, "The judge only watches: it will not take the release back by itself.") : null,
      bake.way_back_healthy === false ? h("li", { class: "bad" }, `✕ ${old} is not healthy now: going back would not help.`) : null,
      bake.is_slow ? h("li", { class: "bad" }, "✕ Answers are slower than the old side's were.") : null,
      bake.has_held ? h("li", { class: "bad" }, `✕ Held: ${old} would be no better, so people have to decide.`) : null,
    ),
  ];
}

// A bar whose fill is an SVG attribute, because the page's policy allows no inline style.
function bar(value, most, label) {
  const share = most ? Math.min(Math.max(value / most, 0), 1) : 0;
  return s(
    "svg",
    { class: "bar", viewBox: "0 0 100 3", preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${Math.round(share * 100)} %` },
    s("rect", { class: "rail", width: 100, height: 3 }),
    s("rect", { class: "fill", width: (share * 100).toFixed(2), height: 3 }),
  );
}

const WIDTH = 480;

// The release's failure share on one line with what is usual, what leans to harm, and what is harm.
function levels({ failures, requests, usual, break_even: lean, harm_level: harm }) {
  const now = requests ? failures / requests : 0;
  const most = Math.max(harm * 1.5, now * 1.1);
  const x = (share) => 6 + (share / most) * (WIDTH - 12);
  const marks = [[usual, "usual", "start"], [lean, "evidence grows", "middle"], [harm, "harm level", "middle"]];
  const text = `${percent(now)} of the release's requests failed; usual ${percent(usual)}, evidence grows from ${percent(lean)}, harm level ${percent(harm)}`;
  return s(
    "svg",
    { class: "levels", viewBox: `0 0 ${WIDTH} 46`, role: "img", "aria-label": text },
    s("rect", { class: "fine", x: 6, y: 18, width: x(lean) - 6, height: 8 }),
    s("rect", { class: "lean", x: x(lean), y: 18, width: x(harm) - x(lean), height: 8 }),
    s("rect", { class: "harm", x: x(harm), y: 18, width: WIDTH - 6 - x(harm), height: 8 }),
    marks.map(([value, name, anchor], i) => [
      s("line", { class: "tickmark", x1: x(value), x2: x(value), y1: 15, y2: 29 }),
      s("text", { class: "tick", x: i ? x(value) : 6, y: i === 1 ? 42 : 11, "text-anchor": i === 1 && x(value) < 60 ? "start" : anchor }, `${name} ${percent(value)}`),
    ]),
    s("path", { class: "needle", d: `M${x(now)} 26 ${x(now) - 6} 36 ${x(now) + 6} 36Z` }),
  );
}
