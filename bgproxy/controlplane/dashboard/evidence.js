// What the judge of a release saw: failures against the usual share and the harm level, and the
// evidence as it grew. Both levels are shown beside each other, or the harm level would be read as
// the threshold, which it is not.

import { h, s } from "./dom.js";
import { count, percent } from "./format.js";

const WIDTH = 360;
const HEIGHT = 140;
const LEFT = 52;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 20;

export function evidenceSection(bake) {
  const { baseline, series = [] } = bake;
  return h(
    "section",
    {},
    h("h2", {}, "The judge"),
    h("p", {}, sentence(bake)),
    series.length > 1
      ? h(
          "div",
          { class: "charts" },
          plot({
            title: "Share of failed requests",
            points: series.filter((p) => p.successes + p.failures).map((p) => [p.t, p.failures / (p.successes + p.failures)]),
            levels: [
              [baseline?.failure_share, "usual"],
              [bake.break_even, "leans to harm"],
              [bake.harm_level, "harm level"],
            ],
            format: percent,
            most: 1,
            isRooted: true,
          }),
          plot({
            title: "Judged requests per second",
            points: series.map((p) => [p.t, p.successes + p.failures]),
            levels: [],
            format: (value) => value.toFixed(0),
          }),
          plot({
            title: "Evidence of harm",
            points: series.map((p) => [p.t, p.evidence]),
            levels: [[bake.evidence_needed, "decides"]],
            format: (value) => value.toFixed(0),
          }),
        )
      : null,
    tally("Failures by reason", bake.reasons),
    tally("Failures by backend", bake.backends),
  );
}

function sentence(bake) {
  const parts = [`Rule ${bake.rule}: ${count(bake.failures)} of ${count(bake.requests)} judged requests failed in ${Math.round(bake.seconds)} s of ${Math.round(bake.of_seconds)} s.`];
  if (bake.baseline) {
    const { failure_share: usual, requests } = bake.baseline;
    parts.push(` At most ${percent(usual)} is usual, by ${count(requests)} requests on the old side.`);
  }
  if (bake.harm_level) {
    parts.push(` Harm means about ${percent(bake.harm_level)}; from ${percent(bake.break_even)} on the evidence grows.`);
  }
  return parts.join("");
}

function tally(title, counts) {
  const rows = Object.entries(counts || {}).sort(([, a], [, b]) => b - a);
  if (!rows.length) return null;
  return h("div", {}, h("h3", {}, title), h("ul", { class: "tally" }, rows.map(([name, n]) => h("li", {}, h("code", {}, name), ` ${count(n)}`))));
}

// Horizontal lines with their names; names that would lie on each other are moved up.
function levelLines(levels, y, format) {
  let free = HEIGHT;
  return levels
    .toSorted(([a], [b]) => a - b)
    .map(([value, name]) => {
      free = Math.min(y(value) - 3, free - 12);
      return [
        s("line", { class: "level", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
        s("text", { class: "tick", x: LEFT + 4, y: free }, `${name} ${format(value)}`),
      ];
    });
}

// `isRooted`: heights are square roots, so that usual shares of a tenth of a percent and failures of
// one in two have room on one axis.
function plot({ title, points, levels, format, most = Infinity, isRooted = false }) {
  const known = levels.filter(([value]) => typeof value === "number");
  const peak = Math.max(...points.map(([, y]) => y), ...known.map(([value]) => value), 0.001);
  const top = Math.min(peak * 1.1, most);
  const end = points.at(-1)?.[0] || 1;
  const x = (t) => LEFT + (t / end) * (WIDTH - LEFT - RIGHT);
  const place = (value) => (isRooted ? Math.sqrt(value / top) : value / top);
  const y = (value) => TOP + (1 - place(value)) * (HEIGHT - TOP - BOTTOM);
  const path = points.map(([t, value], i) => `${i ? "L" : "M"}${x(t).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const now = points.length ? format(points.at(-1)[1]) : "nothing";
  const label = `${title}: at the end ${now}; ${known.map(([value, name]) => `${name} ${format(value)}`).join(", ")}`;
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, title),
    s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      [0, top].map((value) => s("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value))),
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0) }),
      levelLines(known, y, format),
      s("path", { class: "line", d: path }),
      s("text", { class: "tick", x: LEFT, y: HEIGHT - 4 }, "0 s"),
      s("text", { class: "tick", x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, `${Math.round(end)} s after the switch`),
    ),
  );
}
