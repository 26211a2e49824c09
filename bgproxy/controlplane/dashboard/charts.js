// Line charts of both environments over the last minutes. Blue is a solid line that ends in a
// circle, green a dashed one that ends in a triangle: they are told apart without their colors.

import { h, render, s } from "./dom.js";

const WIDTH = 480;
const HEIGHT = 110;
const LEFT = 46;
const BOTTOM = 16;
const TOP = 8;
const SHOWN = 300; // samples
const COLORS = ["blue", "green"];

export const CHARTS = [
  { key: "requests", title: "Requests per second", value: (c, i) => c.requests[i], format: (v) => number(v) },
  {
    key: "errors",
    title: "Error share",
    value: (c, i) => (c.requests[i] ? c.failures[i] / c.requests[i] : null),
    format: (v) => `${(v * 100).toFixed(v && v < 0.0995 ? 1 : 0)} %`,
    least: 0.01,
    most: 1,
  },
  { key: "p50", title: "Latency, median", value: (c, i) => c.p50[i], format: duration, least: 0.001 },
  { key: "p99", title: "Latency, 99th percentile", value: (c, i) => c.p99[i], format: duration, least: 0.001 },
];

export function number(value) {
  if (value >= 10_000) return `${(value / 1000).toFixed(0)} k`;
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

export function duration(seconds) {
  if (!seconds) return "0 ms";
  if (seconds >= 10) return `${seconds.toFixed(0)} s`;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

// The samples of one service that this page has, fed by the API's timeline.
export class Timeline {
  constructor() {
    this.last = 0;
    this.at = [];
    this.sides = { blue: empty(), green: empty() };
  }

  add(document) {
    if (document.last < this.last) Object.assign(this, new Timeline()); // the proxy started anew
    this.last = document.last;
    this.at.push(...document.at);
    const surplus = Math.max(this.at.length - SHOWN, 0);
    this.at.splice(0, surplus);
    for (const color of COLORS) {
      for (const [key, column] of Object.entries(this.sides[color])) {
        column.push(...document.environments[color][key]);
        column.splice(0, surplus);
      }
    }
  }

  // Mean of the last `seconds` samples of a column; null when there are none.
  recent(color, key, seconds = 5) {
    const tail = this.sides[color][key].slice(-seconds);
    return tail.length ? tail.reduce((sum, value) => sum + value, 0) / tail.length : null;
  }
}

const empty = () => ({ requests: [], failures: [], in_flight: [], p50: [], p95: [], p99: [] });

// A round number that is at least `value`: the top of an axis.
function roundUp(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * step).find((n) => n >= value * 0.999);
}

export function chartFrame(chart) {
  return h("figure", { class: "chart", "data-chart": chart.key }, h("figcaption", {}, chart.title), h("div", { class: "plot" }));
}

export function drawChart(frame, chart, timeline, marks = []) {
  const series = COLORS.map((color) => ({ color, values: timeline.at.map((_, i) => chart.value(timeline.sides[color], i)) }));
  const peak = Math.max(chart.least || 1, ...series.flatMap(({ values }) => values.filter((v) => v !== null)));
  const top = Math.min(roundUp(peak), chart.most || Infinity);
  const x = (i) => LEFT + ((SHOWN - timeline.at.length + i) / (SHOWN - 1)) * (WIDTH - LEFT - 10);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const now = series.map(({ color, values }) => {
    const value = values.findLast((v) => v !== null);
    return `${color} ${value === undefined ? "nothing" : chart.format(value)}`;
  });
  const svg = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${chart.title}, now: ${now.join(", ")}` },
    grid(top, chart, y),
    markLines(marks, timeline, x),
    series.map((one) => line(one, x, y)),
  );
  render(frame.querySelector(".plot"), svg);
}

function grid(top, chart, y) {
  const parts = [0, top / 2, top].map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: WIDTH - 10, y1: y(value), y2: y(value) }),
    s("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, chart.format(value)),
  ]);
  const minutes = [5, 4, 3, 2, 1].map((ago) =>
    s("text", { class: "tick", x: LEFT + (1 - ago / 5) * (WIDTH - LEFT - 10), y: HEIGHT - 2 }, `-${ago} min`),
  );
  return [parts, minutes];
}

// A vertical line where the pointer moved.
function markLines(marks, timeline, x) {
  if (!timeline.at.length) return [];
  return marks
    .filter((mark) => mark.at >= timeline.at[0] && mark.at <= timeline.at.at(-1))
    .map((mark) => {
      const i = timeline.at.findIndex((at) => at >= mark.at);
      return s("line", { class: `mark ${mark.color}`, x1: x(i), x2: x(i), y1: TOP, y2: HEIGHT - BOTTOM }, s("title", {}, mark.text));
    });
}

function line({ color, values }, x, y) {
  let path = "";
  let isDrawing = false;
  values.forEach((value, i) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    path += `${isDrawing ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    isDrawing = true;
  });
  const end = values.findLastIndex((value) => value !== null);
  if (end < 0) return null;
  const [ex, ey] = [x(end), y(values[end])];
  const marker =
    color === "blue"
      ? s("circle", { cx: ex, cy: ey, r: 4 })
      : s("path", { d: `M${ex} ${ey - 5} ${ex + 5} ${ey + 4} ${ex - 5} ${ey + 4}Z` });
  return s("g", { class: `series ${color}` }, s("path", { class: "line", d: path }), marker);
}
