// The curves of a training and the heat map of its latents.

import { heat, lines, smoothed } from "../../lib/charts.js";
import { h } from "../../lib/dom.js";
import { X } from "./course.js";

const BETA = ["beta", "capacity", "gamma", "lambda"];
const SIGN = { beta: "β", capacity: "C", gamma: "γ", lambda: "λ", lr: "learning rate" };
const MAIN = [
  { title: "elbo", names: ["elbo", "bound"], help: "The lower bound: higher is better" },
  { title: "distortion", names: ["distortion"], help: "What the decoded image misses" },
  { title: "rate", names: ["rate"], right: BETA, help: "What the code tells of the image" },
];
const FOLDED = [
  { title: "learning rate", names: ["lr"], unit: "", exact: true },
  { title: "norm of the gradient", names: ["gradient", "gradient_max"], unit: "", log: true },
];
const KNOWN = [...MAIN, ...FOLDED].flatMap(({ names, right = [] }) => [...names, ...right]);
const SOME = 0.5; // nats: the colours never end below, so that what tells next to nothing looks like nothing
const CALM = 4000; // milliseconds between two drawings of the latents while it trains
const PASSED = ["step", "epoch", "split", "images", "kl_by_dim", "standard_error", "bits_per_dimension"];

/**
 * Make the charts; `draw(course, view, training)` draws again those that what came changes, and `zoomed([from, to])` is
 * told what part of them the user looks at: from and to on the axis, or null for all of it.
 */
export function curves(zoomed) {
  const plots = new Map();
  const element = h("div", { class: "charts" });
  const more = h("div", { class: "charts" });
  const folded = h("details", { class: "more", ontoggle: () => folded.open && last && draw(...last) }, h("summary", {}, "Learning rate, gradient and other terms"), more);
  const map = h("div", { class: "curve tall" });
  const none = h("p", { class: "note" });
  const holder = h("div", { class: "curves" }, element, folded);
  let [last, before, drawn, at] = [null, "", "", 0];

  function plot(spec, into, course, view) {
    const series = seriesOf(spec, course, view);
    if (!series.length) return;
    if (!plots.has(spec.title)) {
      const chart = h("div", { class: "curve" });
      plots.set(spec.title, chart);
      into.append(h("figure", { class: "card" }, h("figcaption", {}, h("b", {}, spec.title), h("span", {}, spec.help ?? "")), chart));
    }
    const unit = spec.unit ?? "nats per example";
    lines(plots.get(spec.title), { title: `${spec.title} over ${X[view.x].title}`, x: X[view.x].title, y: unit, series, log: spec.log, settled: true, zoomed });
  }

  function draw(course, view, training) {
    last = [course, view, training];
    const now = JSON.stringify([course.rows.length, course.rows[0]?.step, course.rows.at(-1)?.step, course.part?.low, course.part?.high, view, folded.open]);
    if (now !== before) lined(course, view); // a frame came, and no row: a training should not pay for the same curves again
    before = now;
    const rows = course.latents();
    const known = JSON.stringify([rows.length, rows.at(-1)?.step, view]);
    if (known === drawn || (training && performance.now() - at < CALM)) return;
    [drawn, at] = [known, performance.now()];
    latents(rows, course, view);
  }

  function lined(course, view) {
    for (const spec of MAIN) plot(spec, element, course, view);
    if (folded.open) {
      const others = course.names().filter((name) => !KNOWN.includes(name) && !PASSED.includes(name));
      for (const spec of [...FOLDED, ...others.map((name) => ({ title: name, names: [name], unit: "" }))]) plot(spec, more, course, view);
    }
  }

  function latents(rows, course, view) {
    map.hidden = !rows.length;
    none.textContent = rows.length ? "" : course.rows.length ? "There is no KL of each latent: its posterior is a point, or does not take the latents one by one." : "";
    if (!rows.length) return;
    const final = rows.at(-1).kl_by_dim;
    const order = final.map((_, i) => i);
    if (view.order === "kl") order.sort((a, b) => final[b] - final[a]);
    const usable = rows.filter((row) => row.kl_by_dim.length === final.length);
    heat(map, {
      title: `KL of each latent over ${X[view.x].title}`, unit: "nats", floor: SOME, x: { title: X[view.x].title, values: usable.map((row) => course.at(row.step, view.x)) },
      y: { title: "latent", values: order.map((i) => `z${i}`) }, z: order.map((i) => usable.map((row) => row.kl_by_dim[i])),
    });
  }

  return {
    element: holder, draw,
    latents: (order) => h("div", {}, h("p", { class: "note" }, "How much each latent tells about the image, over the training. A row that stays as pale as the paper has collapsed: the model does not use it."), h("div", { class: "row" }, order), none, h("div", { class: "card" }, map)),
  };
}

function seriesOf({ names, right = [], exact }, course, { x, smooth: asked }) {
  const smooth = exact ? 0 : asked;
  const found = [];
  const add = (name, split, more) => {
    const { x: at, y } = course.series(name, split, x);
    if (!at.length) return;
    const words = SIGN[name] ?? name.replaceAll("_", " ");
    const label = more.axis ? words : names.length > 1 ? `${words}, ${split}` : split;
    if (smooth && split === "train" && !more.axis) found.push({ name: label, x: at, y, faint: true, colour: more.colour });
    found.push({ name: label, x: at, y: split === "train" && !more.axis ? smoothed(y, smooth) : y, marked: split === "validation", ...more });
  };
  names.forEach((name, i) => {
    add(name, "train", { colour: 2 * i });
    add(name, "validation", { colour: 2 * i + 1 });
  });
  for (const name of right) add(name, "train", { axis: SIGN[name], colour: 2, dashed: true });
  return found;
}

