// What the buttons do: say what will happen, ask, do it, tell how it went.

import { Problem, post, servicePath } from "./api.js";
import { h, render } from "./dom.js";
import { SHAPE, count, facts } from "./format.js";

const confirmDialog = document.getElementById("confirm");
const resultDialog = document.getElementById("result");

const named = (color, environment) =>
  `${SHAPE[color]} ${color}${environment.release ? ` (${environment.release})` : ""}`;

// Resolves to the form's fields, or null when the answer is no.
function ask({ title, lines, go, withReason = false, withRelease = false, withTimeout = false }) {
  render(confirmDialog.querySelector("h2"), title);
  render(document.getElementById("confirm-text"), lines.map((line) => h("p", {}, line)));
  document.getElementById("confirm-reason").hidden = !withReason;
  document.getElementById("confirm-release").hidden = !withRelease;
  document.getElementById("confirm-timeout").hidden = !withTimeout;
  document.getElementById("confirm-go").textContent = go;
  const form = confirmDialog.querySelector("form");
  form.reset();
  confirmDialog.returnValue = "cancel";
  confirmDialog.showModal();
  // The harmless answer has the focus, so that a stray Enter changes nothing.
  confirmDialog.querySelector("button[value=cancel]").focus();
  return new Promise((resolve) => {
    confirmDialog.addEventListener(
      "close",
      () => {
        const isYes = confirmDialog.returnValue === "go";
        resolve(isYes ? Object.fromEntries(new FormData(form)) : null);
      },
      { once: true },
    );
  });
}

function tell(title, ...parts) {
  render(resultDialog.querySelector("h2"), title);
  render(document.getElementById("result-text"), parts);
  if (!resultDialog.open) resultDialog.showModal();
}

// What the problem document brings besides its sentence: each backend, each check.
function problemDetails(problem) {
  const rest = Object.entries(problem).filter(
    ([key, value]) => !["type", "title", "status", "detail", "errors"].includes(key) && Array.isArray(value),
  );
  return rest.map(([key, list]) => [
    h("h3", {}, key.replaceAll("_", " ")),
    h("ul", {}, list.map((item) => h("li", {}, typeof item === "object" ? facts(item) : String(item)))),
  ]);
}

async function attempt(what, change) {
  try {
    return await change();
  } catch (error) {
    const details = error instanceof Problem ? problemDetails(error.problem) : [];
    tell(`${what} was refused`, h("p", {}, error.message), ...details.flat());
    return null;
  }
}

export async function switchOver(view) {
  const { service, idle } = view;
  const [from, to] = [service.active, idle];
  const target = service.environments[to];
  const healthy = target.backends.filter((backend) => backend.healthy).length;
  const answer = await ask({
    title: `Switch ${service.name} to ${named(to, target)}?`,
    lines: [
      `${healthy} of ${target.backends.length} backends of ${to} are healthy. If too few are, the proxy waits for them and then refuses.`,
      `The configured checks run against ${to} first; if one fails, nothing changes.`,
      `Then every new request goes to ${to}. What is in flight on ${from} now (${count(service.environments[from].in_flight)}) ends there.`,
      `Keep ${from} running: while ${to} bakes, a rise in errors takes the switch back by itself.`,
      ...(target.locked_by ? [`${to} was taken back after deployment ${target.locked_by}: without another release name the switch is refused.`] : []),
      ...(service.locked ? [`${service.name} is locked by ${service.locked.by}: “${service.locked.reason}” The switch will be refused.`] : []),
    ],
    go: `Switch to ${to}`,
    withReason: true,
    withRelease: true,
  });
  if (!answer) return;
  const body = { to, reason: answer.reason, expected_generation: service.generation };
  if (answer.release) body.release = answer.release;
  await attempt("The switch", () => post(servicePath(service.name, "switch"), body));
}

export async function rollback(view) {
  const { service, idle } = view;
  const from = service.active;
  const answer = await ask({
    title: `Roll ${service.name} back to ${named(idle, service.environments[idle])}?`,
    lines: [
      `Every new request goes to ${idle} at once. No health is waited for and no check is run.`,
      `What is in flight on ${from} now (${count(service.environments[from].in_flight)}) ends there.`,
    ],
    go: `Roll back to ${idle}`,
    withReason: true,
  });
  if (!answer) return;
  const body = { reason: answer.reason, expected_generation: service.generation };
  await attempt("The rollback", () => post(servicePath(service.name, "rollback"), body));
}

export async function approve(view) {
  const { service } = view;
  const { deployment: one } = service;
  const target = named(one.to, service.environments[one.to]);
  const answer = await ask({
    title: `Approve the switch of ${service.name} to ${target}?`,
    lines: [
      `${one.actor} asked for it${one.reason ? `: ${one.reason}` : ""}. Two people are needed: it takes another token than theirs.`,
      `The health of ${one.to} is looked at once more. Then every new request goes there.`,
    ],
    go: "Approve",
    withReason: true,
  });
  await decide(service, "approve", "The approval", answer);
}

export async function reject(view) {
  const { service } = view;
  const { deployment: one } = service;
  const answer = await ask({
    title: `Reject the switch of ${service.name} to ${one.to}?`,
    lines: [`It ends as failed, and ${one.actor} is told why. Traffic stays on ${service.active}.`],
    go: "Reject",
    withReason: true,
  });
  await decide(service, "reject", "The rejection", answer);
}

async function decide(service, path, what, answer) {
  if (!answer) return;
  const body = { deployment: service.deployment.id, reason: answer.reason };
  await attempt(what, () => post(servicePath(service.name, path), body));
}

export async function verify(view) {
  const { service, idle } = view;
  const answer = await ask({
    title: `Run the checks against ${named(idle, service.environments[idle])}?`,
    lines: [`The configured requests are sent to every backend of ${idle}. Nothing is switched.`],
    go: "Run the checks",
  });
  if (!answer) return;
  const result = await attempt("The verification", () => post(servicePath(service.name, "verify"), { environment: idle }));
  if (!result) return;
  const items = result.checks.map((check) => {
    const { name, passed, ...rest } = check;
    return h("li", { class: passed ? "healthy" : "unhealthy" }, `${passed ? "✓" : "✕"} ${name ?? ""} `, facts(rest));
  });
  tell(
    `${idle}: ${result.passed ? "all checks passed" : "checks failed"}`,
    items.length ? h("ul", { class: "checks" }, items) : h("p", {}, "No checks are configured."),
  );
}

export async function pauseOrResume(view) {
  const { service } = view;
  const isPaused = service.phase === "paused";
  const answer = await ask(
    isPaused
      ? { title: `Let ${service.name} go on?`, lines: [`Held requests go to ${service.active}, in their order.`], go: "Resume" }
      : {
          title: `Pause ${service.name}?`,
          lines: [
            "New requests are held, in order; users wait. What is in flight goes on.",
            "After that time, or with Resume, they go on to whichever environment is active then.",
          ],
          go: "Pause",
          withTimeout: true,
        },
  );
  if (!answer) return;
  await attempt(isPaused ? "Resuming" : "The pause", () =>
    post(servicePath(service.name, isPaused ? "resume" : "pause"), isPaused ? {} : { timeout: answer.timeout }),
  );
}
