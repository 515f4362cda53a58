// The head of a run's page, the same in all of its views: name, state, what it is, tabs, and what can be taken away.
//   fill(root, head(await get(`/api/runs/${run}`), "explore"), …)

import { href } from "./address.js";
import { h, number } from "./dom.js";
import { tabs } from "./parts.js";
import { takeAway } from "./take.js";

/** Make the head of a run from its summary, in the view `here`. */
export function head(run, here) {
  return h("div", { class: "head" },
    h("div", { class: "row" }, h("h1", {}, run.name), state(run)),
    run.error ? h("p", { class: "problem" }, run.error) : h("p", { class: "note" }, facts(run)),
    run.why ? h("p", { class: "problem" }, run.why) : null,
    run.own ? h("p", { class: "problem" }, run.own) : null,
    h("div", { class: "head-bar" }, tabs(run, here, href), takeAway(run)));
}

/** Say in a line what a run is, and how good. */
export function facts(run) {
  const best = run.splits?.[run.split];
  const figures = Object.entries(best ?? {}).filter(([name]) => !["active", "images"].includes(name));
  return [
    run.data, `recipe ${run.recipe}`, run.beta === null ? null : `β = ${weight(run)}`, `${run.latents} ${run.latents === 1 ? "latent" : "latents"}`,
    ...figures.map(([name, value]) => `${name} ${value[2]}`),
    best?.active?.[0] === undefined || best.active[0] === null ? null : `${best.active[0]} in use`,
    run.note,
  ].filter(Boolean).join(" · ");
}

/** A run's state: training with its progress, finished, stopped, diverged or damaged. */
export function state(run) {
  const word = h("span", { class: `state ${run.state}`, title: run.error ?? run.why }, run.state);
  if (run.state !== "training") return word;
  const [done, total] = [run.step ?? 0, run.total ?? 0];
  const told = done >= total ? "evaluating" : `step ${number(done, 0)} of ${number(total, 0)}${run.left === null || run.left === undefined ? "" : `, ${duration(run.left)} left`}`;
  return h("span", { class: "progress" }, word,
    h("progress", { max: total || 1, value: done, "aria-label": `Training of ${run.name}` }), h("span", { class: "note" }, told));
}

/** Write β as it was asked for, and where it is another as it was reached. */
export function weight({ beta, reached }) {
  if (beta === null || beta === undefined) return "–";
  const asked = short(beta);
  return reached === null || reached === undefined || short(reached) === asked ? asked : `${asked} (now ${short(reached)})`;
}

const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

/** Write a time in words. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
