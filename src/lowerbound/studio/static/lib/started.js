// The trainings that were started from the page: a list, and one of them until its run is there to be watched.

import { href } from "./address.js";
import { get } from "./api.js";
import { fill, h, say } from "./dom.js";
import { command } from "./parts.js";
import { controls } from "./training.js";

const STATES = {
  starting: "is getting ready", training: "is training", stopped: "was stopped", finished: "is finished", failed: "ended before it had begun",
};
const SOON = 500; // milliseconds between two looks
const LATER = 3000;

const wait = (milliseconds, signal) => new Promise((done) => {
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    done();
  };
  const timer = setTimeout(end, milliseconds);
  signal.addEventListener("abort", end);
});

/** The list, kept up to date until the signal says that the view is left. */
export function started(signal) {
  const body = h("tbody", {});
  const root = h("section", { class: "started", hidden: true }, h("h2", {}, "Started from here"), h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Trainings started from here" }, h("table", {}, h("thead", {}, h("tr", {}, ["Training", "When", "State", "Stop or go on"].map((text) => h("th", { scope: "col" }, text)))), body)));
  let before = "";
  async function look() {
    const { trainings } = await get("/api/trainings", {}, signal);
    const now = JSON.stringify(trainings.map(({ id, state, last, pid }) => [id, state, last, pid]));
    if (now !== before) fill(body, trainings.slice(0, 10).map((one) => line(one, look)));
    before = now;
    root.hidden = !trainings.length;
  }
  (async () => {
    while (!signal.aborted) {
      await look().catch(() => {});
      await wait(LATER, signal);
    }
  })();
  return root;
}

function line(one, changed) {
  const to = one.runs.length ? href("watch", one.runs[0]) : href("train", one.id);
  return h("tr", {},
    h("td", {}, h("a", { href: to }, one.name)), h("td", {}, one.when.slice(0, 16).replace("T", " ")),
    h("td", {}, STATES[one.state], one.last ? h("div", { class: "note" }, one.last) : null, one.state === "failed" || one.last ? h("a", { class: "note", href: href("train", one.id) }, "Log") : null),
    h("td", {}, controls(one, { kind: "trainings", changed })));
}

/** One training: what it prints until its run is there, then the run itself. */
export async function job(root, id, signal) {
  const log = h("pre", { class: "log", tabindex: 0, "aria-label": "What it printed" });
  const state = h("p", { role: "status" });
  const buttons = h("p", { class: "row" });
  const place = h("div", {});
  let told = "";
  let began = false;
  for (let first = true; !signal.aborted; first = false) {
    const one = await get(`/api/trainings/${id}`, {}, signal);
    if (first) {
      began = one.state === "starting" || one.state === "training";
      fill(root, h("h1", {}, one.name), state, buttons, log, place, h("p", {}, h("a", { href: href("train") }, "Another training")));
      fill(place, command(one.command));
    }
    if (began && one.runs.length && (one.state === "training" || one.state === "finished")) {
      say(`${one.name} ${STATES[one.state]}`);
      location.replace(href("watch", one.runs[0]));
      return;
    }
    if (told !== one.state) {
      told = one.state;
      fill(state, `It ${STATES[one.state]}.`, one.runs.length ? [" ", h("a", { href: href("watch", one.runs[0]) }, "Watch it")] : null);
      state.className = one.state === "failed" ? "problem" : one.state === "starting" ? "busy" : "";
      fill(buttons, controls(one, { kind: "trainings", changed: () => { began = true; } }));
    }
    const text = one.log.join("\n");
    if (log.textContent !== text) log.textContent = text;
    log.hidden = !text;
    await wait(one.state === "starting" ? SOON : LATER, signal);
  }
}
