// The list of events, and what of them is said aloud.

import { h } from "./dom.js";
import { facts, time } from "./format.js";

const SHOWN = 50;
const OPENED = Date.now();
const PROGRESS = new Set(["drain_progress", "bake_progress"]); // shown at the service itself
const LOUD = new Set([
  "switch", "rollback", "auto_rollback", "refused", "drained", "bake_finished", "fail_open", "hold",
  "would_roll_back", "worker_died", "held", "approved", "rejected", "hold_timeout", "locked", "unlocked",
]);

export class EventList {
  constructor(list, announcer) {
    this.list = list;
    this.announcer = announcer;
  }

  // Shows an event; false for those that only say how far something is.
  take({ type, data }) {
    if (PROGRESS.has(type)) return false;
    const { at, service, ...rest } = data;
    const text = `${service ? `${service}: ` : ""}${type.replaceAll("_", " ")}`;
    this.list.querySelector(".quiet")?.remove();
    this.list.prepend(
      h("li", { class: LOUD.has(type) ? "loud" : null }, h("time", { datetime: at }, time(at)), " ", h("strong", {}, text), " ", facts(rest)),
    );
    while (this.list.children.length > SHOWN) this.list.lastElementChild.remove();
    if (LOUD.has(type) && Date.parse(at) >= OPENED) this.announce(`${text} ${facts(rest)}`);
    return true;
  }

  // Says something to screen readers; one message must not wipe out the one before it unheard.
  announce(text) {
    this.announcer.append(h("p", {}, text));
    if (this.announcer.children.length > 5) this.announcer.firstElementChild.remove();
  }
}
