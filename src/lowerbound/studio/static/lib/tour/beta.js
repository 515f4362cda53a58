// The last step of the tour: the same picture in one trained model after the other, whose β differ.

import { href, remember } from "../address.js";
import { get, newest, post } from "../api.js";
import * as charts from "../charts.js";
import { fill, h, number, say } from "../dom.js";
import { formula } from "../math.js";
import { busy, choice, command, images, picture, problem } from "../parts.js";
import { MU, RATE, RATES, SIGMA, SPREAD, costs, latents } from "../posterior.js";

const AGAIN = 3000; // milliseconds between two looks at a training

/** Make the step; it gives {element, draw}. */
export function sweep({ run, info, state, signal: left, current, again }) {
  const turned = new AbortController(); // of another page of the tour
  const signal = AbortSignal.any([left, turned.signal]);
  const place = h("div", {}, busy("Looking for runs that differ in β …"));
  const element = [
    h("p", {}, "Training weighs the two costs: β says how many nats of distortion one nat of rate may cost. With a small β it is cheap to say much, and the picture comes back well. With a large β every word is dear: dials fall silent one after the other, until the code says nothing at all and every picture comes back as the same grey cloud. That is called posterior collapse."),
    h("div", { class: "formulas", role: "group", tabindex: 0, "aria-label": "The formula" }, formula("loss = distortion + β · rate")),
    place,
  ];
  let shown = null;
  let from = /^[0-9a-f]{12}$/.test(state.set ?? "") ? state.set : run;
  const look = () => found().catch((error) => signal.aborted || fill(place, problem(error)));
  look();
  async function found() {
    const set = await get(`/api/runs/${from}/betas`, {}, signal).catch((error) => {
      if (error.status !== 404 || from === run) throw error;
      return get(`/api/runs/${(from = run)}/betas`, {}, signal); // the set of a link that is not there any more
    });
    if (set.runs.length < 2) fill(place, none(set, signal, look));
    else fill(place, others(set), (shown = slide(set, { run, info, state, signal, current, again })).element);
    shown?.draw();
  }
  /** Where there are several sets, say which is shown, and offer the others. */
  function others({ sets }) {
    if (sets.length < 2) return null;
    return h("p", {}, choice("Runs", Object.fromEntries(sets.map(({ id, name }) => [id, name])), sets[0].id, async (id) => {
      from = id;
      state = { ...state, at: undefined };
      remember({ set: id === run ? null : id, at: null });
      await look();
      place.querySelector("select")?.focus();
    }));
  }
  return { element, draw: () => shown?.draw(), close: () => turned.abort() };
}

/** There is no set: say how to make one, and make it. */
function none(set, signal, look) {
  const told = h("div");
  const start = h("button", { type: "button", onclick: begin }, "Train the set now");
  async function begin() {
    start.disabled = true;
    try {
      const training = await post("/api/trainings", { form: set.form }, signal);
      fill(told, h("p", { class: "busy", role: "status" }, "Eight models are being trained, one after the other, even if this page is closed. ", h("a", { href: href("runs") }, "See them among the runs"), "."));
      follow(training.id);
    } catch (error) {
      fill(told, problem(error));
      start.disabled = false;
    }
  }
  function follow(id) {
    const timer = setInterval(async () => {
      const one = await get(`/api/trainings/${id}`, {}, signal).catch(() => ({ state: "unknown" }));
      if (["training", "starting", "unknown"].includes(one.state)) return;
      clearInterval(timer);
      if (one.state === "finished") await look();
      else fill(told, problem(new Error(one.last || "The training has stopped.")));
      start.disabled = false;
    }, AGAIN);
    signal.addEventListener("abort", () => clearInterval(timer));
  }
  return [h("p", {}, "For this step it takes several runs of the same data that differ in β, and there are none in this folder yet. They take some minutes."),
    set.form ? h("div", { class: "row" }, start) : null, told, command(set.command)];
}

function slide(set, { run, info, state, signal, current, again }) {
  const runs = set.runs;
  const begin = Math.max(0, runs.findIndex((one) => one.id === (state.at ?? run)));
  const scale = Math.max(1, Math.floor(112 / info.width));
  const [given, back] = [images("Your picture", { scale }), images("Its reconstruction", { scale })];
  const [some, fresh] = [images("Samples of its posterior, decoded", { scale: Math.max(1, scale >> 1), columns: 4 }), images("New samples of the prior", { scale: Math.max(1, scale >> 1), columns: 4 })];
  const bars = latents([RATES, RATE, SPREAD, MU, SIGMA]);
  const [numbers, told, chart, wrong] = [h("div"), h("p", { role: "status" }), h("div", { class: "tour-chart" }), h("div")];
  const word = (beta) => `β = ${Number(beta.toPrecision(3))}`;
  const output = h("output", {}, word(runs[begin].beta));
  const input = h("input", { type: "range", min: 0, max: runs.length - 1, step: 1, value: begin, "aria-label": "β, by the run that was trained with it", "aria-valuetext": word(runs[begin].beta), oninput: draw });

  let missed = 0;
  const ask = newest(async ({ one, image }) => {
    const [seen, samples] = await Promise.all([
      post(`/api/runs/${one.id}/posterior`, { image }, signal),
      post(`/api/runs/${one.id}/sample`, { number: 8, seed: 0 }, signal)]);
    return { seen, samples };
  }, ({ seen, samples }, { one }) => {
    missed = 0;
    given.draw(seen.picture);
    back.draw(seen.reconstruction);
    some.draw(seen.samples);
    fresh.draw(samples, 4);
    bars.show(seen);
    fill(numbers, costs(seen));
    const used = one.active === null ? "" : ` The model uses ${one.active} of its ${one.latents} latents.`;
    fill(told, `${word(one.beta)}: over all ${one.split ?? ""} images a distortion of ${number(one.distortion)} and a rate of ${number(one.rate)} nats.${used}`);
    plot(one, seen);
    fill(wrong);
    say(told.textContent);
  }, (error) => (error.status === 404 && missed++ < 2 ? again() : fill(wrong, problem(error)))); // its picture is gone, or the run is

  function plot(one, seen) {
    const there = runs.filter(({ rate, distortion }) => rate !== null && distortion !== null);
    charts.points(chart, {
      title: "Rate and distortion of the runs, and of your picture", x: "rate, nats", y: "distortion, nats", click: (key) => move(runs.findIndex(({ id }) => id === key)),
      series: [
        { name: "all images, by β", x: there.map(({ rate }) => rate), y: there.map(({ distortion }) => distortion), text: there.map(({ beta, name }) => (set.alike ? word(beta) : `${word(beta)}, ${name}`)), keys: there.map(({ id }) => id), joined: set.alike && !set.note },
        { name: `all images, ${word(one.beta)}`, x: [one.rate], y: [one.distortion], text: [word(one.beta)], keys: [one.id] },
        { name: "your picture", x: [seen.rate], y: [seen.distortion], text: ["your picture"], keys: [one.id] },
      ],
    });
  }
  function move(i) {
    if (i < 0) return;
    input.value = i;
    draw();
  }
  function draw() {
    const one = runs[input.valueAsNumber];
    output.textContent = word(one.beta);
    input.setAttribute("aria-valuetext", word(one.beta));
    remember({ at: one.id });
    if (current()) ask({ one, image: current().id });
  }
  const element = [
    set.alike ? null : h("div", {}, h("p", { class: "note" }, "These runs are of the same data, but they differ in more than β: what changes from one to the next is not β's work alone, so no line joins them. A set that differs in β alone is trained by:"), command(set.command)),
    !set.alike || runs.some(({ id }) => id === run) ? null : h("p", { class: "note" }, "These runs differ from one another in β alone; the run of this tour is not among them."),
    set.note ? h("p", { class: "note" }, set.note, set.alike ? " No line joins them." : "") : null,
    h("label", { class: "slider tour-beta" }, h("span", {}, "β"), input, output), told, wrong,
    h("div", { class: "trio" }, picture(given, "your picture", "x"), picture(back, "its reconstruction", "reconstruction"), picture(some, "samples of its posterior", "posterior-samples"), picture(fresh, "new samples", "samples")),
    numbers, chart, h("h3", {}, "What each dial says of your picture"), bars,
  ];
  return { element, draw };
}
