// Words and numbers for people.

export const SHAPE = { blue: "●", green: "▲" };
export const other = (color) => (color === "blue" ? "green" : "blue");

export const KIND = { switch: "switch", rollback: "rollback", auto_rollback: "automatic rollback" };

// A sign and a word each, so that nothing hangs on a color.
export const OUTCOME = {
  passed: ["✓", "passed"],
  inconclusive: ["?", "inconclusive: too little traffic to judge"],
  rolled_back: ["↩", "taken back"],
  superseded: ["»", "superseded"],
  failed: ["✕", "failed"],
};

export const PHASE_SIGN = { steady: "✓", verifying: "…", draining: "◐", baking: "◔", paused: "Ⅱ" };

// What a service is busy with, in a few words and with the time that is left.
export function phaseText({ phase, deployment, drain, bake, paused_until: pausedUntil }) {
  if (phase === "verifying" && deployment?.held) return "waits for an approval";
  if (phase === "draining" && drain) return `draining ${drain.environment}: ${count(drain.requests + drain.tunnels)} left`;
  if (phase === "baking" && bake) return `baking, ${span(bake.of_seconds - bake.seconds)} left`;
  if (phase === "paused" && pausedUntil) return `paused for ${left(pausedUntil)} more`;
  return { verifying: "verifying the target" }[phase] || phase;
}

export const count = (value) => Number(value || 0).toLocaleString("en");

export const share = (part, whole) => percent(whole ? part / whole : 0);

export function percent(part) {
  const value = part * 100;
  return `${value.toFixed(value > 0 && value < 10 ? 2 : value === 0 ? 0 : 1)} %`;
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
