// Words and numbers for people.

export const SHAPE = { blue: "●", green: "▲" };
export const other = (color) => (color === "blue" ? "green" : "blue");

export const KIND = { switch: "switch", rollback: "rollback", auto_rollback: "automatic rollback" };

export const OUTCOME = {
  passed: "passed",
  inconclusive: "inconclusive: too little traffic to judge",
  rolled_back: "taken back",
  superseded: "superseded",
  failed: "failed",
};

export const PHASE = {
  steady: "steady",
  verifying: "verifying the target",
  draining: "draining the old side",
  baking: "baking: a rise in errors takes it back",
  paused: "paused: requests are held",
};

export const count = (value) => Number(value || 0).toLocaleString("en");

export function share(part, whole) {
  if (!whole) return "0 %";
  const percent = (part / whole) * 100;
  return `${percent.toFixed(percent > 0 && percent < 10 ? 2 : 1)} %`;
}

export function time(text) {
  if (!text) return "–";
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? at.toLocaleTimeString() : at.toLocaleString();
}

export const left = (until) => span((new Date(until) - Date.now()) / 1000);

export function span(length) {
  const seconds = Math.max(0, Math.round(length));
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`;
}

export function took(from, to) {
  if (!from || !to) return null;
  const seconds = (new Date(to) - new Date(from)) / 1000;
  return seconds < 10 ? `${seconds.toFixed(2)} s` : `${seconds.toFixed(0)} s`;
}

// A document of facts on one line.
export function facts(document) {
  return Object.entries(document)
    .filter(([, value]) => value !== null && value !== "")
    .map(([key, value]) => `${key.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}
