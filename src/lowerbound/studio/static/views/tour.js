// A guided tour from an image to its elbo, for the student after the lecture, on the student's own drawing.

import { href, remember } from "../lib/address.js";
import { get, newest, post } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { head } from "../lib/head.js";
import { command, images, loading, problem } from "../lib/parts.js";
import { subject } from "../lib/subject.js";
import { STEPS } from "../lib/tour/steps.js";

export default {
  title: "Understand",
  show: (root, { run, state }, signal) => (run
    ? loading(root, "Opening the model …", () => opened(run, signal), (found) => tour(found, run, state, signal))
    : loading(root, "Looking for a run to explain …", async () => {
      const { run: first } = await get("/api/tour", {}, signal);
      return { first, command: first ? null : (await get("/api/runs", {}, signal)).command };
    }, (found) => chosen(found, state))),
};

function chosen({ first, command: text }, state) {
  if (first) location.replace(href("tour", first, state));
  return [
    h("h1", {}, "Understand"),
    first ? null : [
      h("p", {}, "This tour shows, on your own drawing and step by step, what a variational autoencoder does. For that it needs a trained model of images, and there is none in this folder yet."),
      h("p", {}, h("a", { class: "button", href: href("train") }, "Train one"), " It takes a minute or two, and then the tour begins here."),
      command(text),
    ],
  ];
}

async function opened(run, signal) {
  const line = await get(`/api/runs/${run}`, {}, signal);
  if (line.shape?.length !== 3) return { line, no: "The data of this run are vectors, and the tour is about images." };
  const info = await get(`/api/runs/${run}/easel`, {}, signal);
  const other = info.point ? "an autoencoder's code is a point, without σ, ε and rate. The view Draw shows it instead." : "this run has another. The view Draw shows its posterior by samples instead.";
  return { line, info, no: info.gaussian ? null : `The tour follows z = μ + σ ⊙ ε, which only a diagonal Gaussian posterior has; ${other}` };
}

function tour({ line, info, no }, run, state, signal) {
  const top = head(line, "tour");
  if (no) return [top, h("p", {}, no), h("p", {}, h("a", { class: "button", href: href("tour") }, "Take the tour with another run"), " ", h("a", { class: "button plain", href: href("draw", run) }, "Draw"))];
  const [place, wrong] = [h("section", { class: "card tour-step" }), h("div")];
  const whole = (text, usual) => (text !== undefined && Number.isFinite(Number(text)) ? Number(text) : usual);
  const now = { step: Math.min(STEPS.length, Math.max(1, Math.floor(whole(state.step, 1)))), seed: Math.max(0, Math.floor(whole(state.seed, 0))), strength: Math.min(2, Math.max(0, whole(state.strength, 1))) };
  let [picture, walk, shown, missed] = [null, null, null, 0];

  const ask = newest(({ image, seed, strength }) => post(`/api/runs/${run}/walk`, { image, seed, strength }, signal), (found) => {
    walk = found;
    missed = 0;
    fill(wrong);
    small.draw(found.picture);
    shown.draw(found);
  }, failed);
  const update = () => picture && ask({ image: picture.id, seed: now.seed, strength: now.strength });
  function failed(error) {
    if (error.status === 404 && picture && missed++ < 2) return it.again(); // newer pictures took its place
    fill(wrong, problem(error));
  }
  const it = subject(run, info, { state, signal, failed, example: 0, changed: (next) => {
    picture = next;
    if (!next) walk = null;
    aside.hidden = !next;
    lacking.hidden = next !== null || now.step === 1;
    if (next) update();
  } });
  const small = images("Your picture", { scale: Math.max(1, Math.floor(84 / info.width)) });
  const aside = h("div", { class: "tour-aside", hidden: true }, small, h("button", { type: "button", class: "quiet", onclick: () => go(1) }, "Draw your own"));
  const lacking = h("p", { hidden: true }, "There is no picture: ", h("button", { type: "button", class: "quiet", onclick: () => go(1) }, "draw or take one"), ".");
  const tools = {
    again() { now.seed = (now.seed + 1) % 2 ** 31; remember({ seed: now.seed }); update(); },
    stretch(value) { now.strength = value; remember({ strength: value === 1 ? null : value }); update(); },
    strength: () => now.strength,
  };
  const bar = h("ol", { class: "tour-steps", "aria-label": "Steps of the tour" });
  const [back, next] = [h("button", { type: "button", class: "plain", onclick: () => go(now.step - 1) }, "← Back"), h("button", { type: "button", onclick: () => go(now.step + 1) }, "Next →")];

  function go(step, focus = true) {
    if (step < 1 || step > STEPS.length) return;
    now.step = step;
    remember({ step: step === 1 ? null : step });
    const { title, make } = STEPS[step - 1];
    shown?.close?.();
    shown = make({ run, info, state, signal, tools, easel: it.element, count: line.latents, current: () => picture, again: it.again });
    const heading = h("h2", { tabindex: -1 }, title);
    fill(place, h("div", { class: "tour-head" }, heading, step === 1 ? null : aside),
      lacking, shown.element);
    lacking.hidden = step === 1 || picture !== null;
    fill(bar, STEPS.map(({ name }, i) => h("li", {}, h("button", { type: "button", class: "quiet", "aria-current": i + 1 === step ? "step" : undefined, onclick: () => go(i + 1) }, `${i + 1} ${name}`))));
    back.disabled = step === 1;
    next.disabled = step === STEPS.length;
    if (walk && picture) shown.draw(walk);
    if (!focus) return;
    heading.focus({ preventScroll: true });
    bar.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, canvas, details, .wide, .formulas")) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    go(now.step + way);
  }, { signal });
  signal.addEventListener("abort", () => shown?.close?.());
  go(now.step, false);
  lacking.hidden = true; // until it is known what there is
  it.start().catch(failed);
  return [top, h("p", { class: "note" }, "What a variational autoencoder does, on your own drawing. The arrow keys ← and → turn the pages."), bar, wrong, place, h("div", { class: "row tour-turn" }, back, next)];
}
