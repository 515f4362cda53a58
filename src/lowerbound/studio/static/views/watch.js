// A training as it goes on: curves, the KL of each latent, pictures of what it makes of the same images, figures.

import { remember } from "../lib/address.js";
import { get, newest } from "../lib/api.js";
import { ahead } from "../lib/charts.js";
import { fill, h, say } from "../lib/dom.js";
import { head, state as badge } from "../lib/head.js";
import { follow } from "../lib/live.js";
import { choice, loading, problem, slider } from "../lib/parts.js";
import { controls } from "../lib/training.js";
import { Course, X } from "./watch/course.js";
import { curves } from "./watch/curves.js";
import { film } from "./watch/film.js";
import { now } from "./watch/now.js";

const POINTS = 1000;
const MOST = 3 * POINTS; // rows, after which the history is thinned anew by the server
const PACE = 650; // milliseconds between two drawings
const LOOK = 2000; // and between two looks at the run's progress

export default {
  title: "Watch",
  show: (root, { run, state }, signal) => loading(root, "Reading the history …", async () => {
    ahead();
    const [summary, found] = await Promise.all([get(`/api/runs/${run}`, {}, signal), history(run, signal)]);
    return [summary, new Course(found)];
  }, ([summary, course]) => page(run, state, summary, course, signal)),
};

const history = (run, signal, span = {}) => get(`/api/runs/${run}/history`, { points: POINTS, ...span }, signal);

function page(run, state, summary, course, signal) {
  const view = { x: X[state.x] ? state.x : "step", smooth: Math.min(0.99, Math.max(0, Number(state.smooth) || 0)), order: state.order === "own" ? "own" : "kl" };
  const top = head(summary, "watch");
  const buttons = h("div", { class: "row" });
  const figures = now();
  const plots = curves((part) => course.thinned && zoom(part && course.span(part, view.x)));
  const pictures = film(run, summary, state.frame, signal);
  const note = h("p", { class: "note" });
  let [timer, drawn] = [null, 0];

  function draw() {
    timer = null;
    drawn = performance.now();
    if (signal.aborted) return;
    figures.draw(summary, course);
    plots.draw(course, view, summary.state === "training");
    pictures.draw(course.frames, course.total);
    fill(note, course.told());
  }
  const soon = () => (timer ??= setTimeout(draw, Math.max(0, drawn + PACE - performance.now())));

  // the rows of the part that the user looks at, finer than those of the whole
  const zoom = newest((span) => span && history(run, signal, span), (found, span) => {
    course.part = span && { ...span, rows: found.rows, count: found.count };
    draw();
  }, (error) => fill(note, problem(error)));

  function set(changes) {
    Object.assign(view, changes);
    remember(changes);
    draw();
  }

  async function look() {
    const before = summary.state;
    try {
      summary = await get(`/api/runs/${run}`, {}, signal);
    } catch (error) {
      if (error.status === 404) fill(buttons, problem(error)); // its folder is gone; app.js tells where the studio is away
      return;
    }
    if (summary.state === before && before === "training") top.querySelector(".progress, .state").replaceWith(badge(summary));
    else if (summary.state !== before) changed(before);
    soon();
  }

  function changed(before) {
    say(`${summary.name}: ${summary.state}`);
    const next = head(summary, "watch");
    top.replaceChildren(...next.childNodes);
    fill(buttons, controls(summary, { changed: look }));
    pictures.live(summary.state === "training", before === "training");
  }

  const reread = newest(() => history(run, signal), (found) => {
    course.read(found);
    draw();
    listen();
    look(); // what cut it is a training that has begun
  }, (error) => fill(note, problem(error)));

  let hearing = new AbortController();
  function listen() {
    hearing.abort();
    hearing = new AbortController();
    const both = AbortSignal.any([signal, hearing.signal]);
    follow(run, course.since, {
      rows(found) {
        course.add(found);
        if (course.rows.length > MOST) reread();
        else soon();
      },
      state: look,
      again: reread,
    }, both);
  }

  fill(buttons, controls(summary, { changed: look }));
  pictures.live(summary.state === "training", false);
  const clock = setInterval(() => summary.state === "training" && !document.hidden && look(), LOOK);
  signal.addEventListener("abort", () => {
    clearInterval(clock);
    clearTimeout(timer);
  });
  queueMicrotask(draw); // when it stands in the page
  listen();
  const settings = h("div", { class: "row", role: "group", "aria-label": "How the curves are drawn" },
    choice("Over", Object.fromEntries(Object.entries(X).map(([key, { title }]) => [key, title])), view.x, (x) => set({ x })),
    slider("Smoothing", { min: 0, max: 0.99, step: 0.01, value: view.smooth, change: (smooth) => set({ smooth }), title: "How much each value is averaged with those before it" }));
  const order = choice("Latents", { kl: "by their KL", own: "in their own order" }, view.order, (value) => set({ order: value }));
  return [top, buttons, figures, pictures, h("h2", {}, "Curves"), settings, note, plots.element, h("h2", {}, "KL of each latent"), plots.latents(order)];
}

