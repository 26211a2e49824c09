// Line charts of both environments over the last minutes. Blue is a solid line that ends in a
// circle, green a dashed one that ends in a triangle: they are told apart without their colors.

import { h, render, s } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 110;
const LEFT = 46;
const BOTTOM = 16;
const TOP = 8;
const KEPT = 600; // samples; the proxy keeps no more
const SPANS = [60, 120, 300, KEPT]; // samples that a chart may show: the shortest that holds all
const RECENT = 5; // samples that the figures "now" are the mean of
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
  { key: "in_flight", title: "In flight", value: (c, i) => c.in_flight[i], format: (v) => number(v) },
  { key: "p50", title: "Latency, median", value: (c, i) => c.p50[i], format: duration, isLogarithmic: true },
  { key: "p95", title: "Latency, 95th percentile", value: (c, i) => c.p95[i], format: duration, isLogarithmic: true },
  { key: "p99", title: "Latency, 99th percentile", value: (c, i) => c.p99[i], format: duration, isLogarithmic: true },
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
    const surplus = Math.max(this.at.length - KEPT, 0);
    this.at.splice(0, surplus);
    for (const color of COLORS) {
      for (const [key, column] of Object.entries(this.sides[color])) {
        column.push(...document.environments[color][key]);
        column.splice(0, surplus);
      }
    }
  }

  // Means of the last samples: requests and failures a second, latencies of those that have any.
  recent(color) {
    const means = {};
    for (const [key, column] of Object.entries(this.sides[color])) {
      const tail = column.slice(-RECENT).filter((value) => value !== null);
      means[key] = tail.length ? tail.reduce((sum, value) => sum + value, 0) / tail.length : null;
    }
    return means;
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
  const { at, sides } = timeline;
  const shown = SPANS.find((samples) => samples >= at.length) || KEPT;
  const series = COLORS.map((color) => ({ color, values: at.map((_, i) => chart.value(sides[color], i)) }));
  const known = series.flatMap(({ values }) => values.filter((value) => value !== null));
  const axis = chart.isLogarithmic ? logarithmic(known) : linear(known, chart);
  const x = (i) => LEFT + ((shown - at.length + i) / (shown - 1)) * (WIDTH - LEFT - 10);
  const y = (value) => TOP + (1 - axis.place(value)) * (HEIGHT - TOP - BOTTOM);
  const now = series.map(({ color, values }) => {
    const value = values.at(-1) ?? null;
    return `${color} ${value === null ? "nothing" : chart.format(value)}`;
  });
  const svg = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${chart.title}, now: ${now.join(", ")}` },
    grid(axis.ticks, chart, y, shown),
    markLines(marks, timeline, x),
    series.map((one) => line(one, x, y)),
  );
  render(frame.querySelector(".plot"), svg);
}

function linear(known, { least = 1, most = Infinity }) {
  const top = Math.min(roundUp(Math.max(least, ...known)), most);
  return { place: (value) => value / top, ticks: [0, top / 2, top] };
}

// Latencies differ by powers of ten: on a linear axis one slow answer flattens all others.
function logarithmic(known) {
  const low = Math.floor(Math.log10(Math.max(Math.min(...known, 0.001), 1e-5)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...known, 0.01))), low + 1);
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return { place: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low), ticks };
}

function grid(ticks, chart, y, shown) {
  const lines = ticks.map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: WIDTH - 10, y1: y(value), y2: y(value) }),
    s("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, chart.format(value)),
  ]);
  const [unit, step] = shown > 120 ? ["min", 60] : ["s", 15];
  const steps = shown / step;
  const every = Math.ceil(steps / 5);
  const times = Array.from({ length: steps - 1 }, (_, i) => steps - 1 - i)
    .filter((n) => n % every === 0)
    .map((n) =>
      s("text", { class: "tick", x: LEFT + (1 - n / steps) * (WIDTH - LEFT - 10), y: HEIGHT - 2, "text-anchor": "middle" }, `−${unit === "s" ? n * step : n} ${unit}`),
    );
  return [lines, times, s("text", { class: "tick", x: WIDTH - 10, y: HEIGHT - 2, "text-anchor": "end" }, "now")];
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
