// The frames of a training: what it makes of the same images, with a slider to go back in time.

import { remember } from "../../lib/address.js";
import { bytes, newest } from "../../lib/api.js";
import { fill, h, number, save } from "../../lib/dom.js";
import { images } from "../../lib/parts.js";

const SECOND = 1000;
const PER_SECOND = 6;
const ROWS = ["held-out images", "their reconstructions", "samples from the prior"];

/**
 * Make the film of a run; `draw(frames)` tells it of the frames that are there, `live(training, was)` whether more come.
 * While it follows it shows the newest one; the step that the user has chosen stands in the URL.
 */
export function film(run, summary, chosen, signal) {
  const [, tall, wide] = summary.shape?.length === 3 ? summary.shape : [];
  const root = h("section", { class: "film-of-training", "aria-label": "Pictures of the training" });
  if (!wide) {
    fill(root, h("p", { class: "note" }, "These data are vectors: there are no pictures to watch, but the curves and the latents below."));
    return Object.assign(root, { draw() {}, live() {} });
  }
  const canvas = images("", { scale: Math.max(1, Math.round(56 / wide)), gap: 1 });
  const place = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Step of the training", oninput: () => pick(place.valueAsNumber) });
  const told = h("output", {});
  const play = h("button", { type: "button", class: "plain", onclick: () => (timer ? pause() : start()) }, "Play");
  const box = h("input", { type: "checkbox", onchange: () => (box.checked ? go() : pick(at)) });
  const following = h("label", { class: "choice" }, box, "follow the training");
  const take = h("button", { type: "button", class: "quiet", onclick: async () => save(await canvas.blob(), `${summary.name.replaceAll("/", "-")}-step-${frames[at].step}.png`) }, "Save PNG");
  const none = h("p", { class: "note" });
  const shown = h("figure", { hidden: true }, h("div", { class: "sheet", tabindex: 0, role: "group", "aria-label": "Pictures, of which a narrow screen shows a part" }, canvas),
    h("figcaption", {}, h("span", {}, "Three rows: held-out images, their reconstructions, and what the same latents, drawn from the prior, decode to"), take));
  const bar = h("div", { class: "row film-bar", hidden: true }, play, place, told, following);
  fill(root, h("h2", {}, "As it learns"), none, shown, bar);

  const kept = new Map(); // pictures by step
  let [frames, at, timer, training] = [[], 0, null, false];
  let follows = chosen === undefined;

  async function picture(step) {
    if (!kept.has(step)) kept.set(step, URL.createObjectURL(new Blob([await bytes(`/api/runs/${run}/frame`, { step }, signal)], { type: "image/png" })));
    return kept.get(step);
  }
  const fetched = newest((frame) => picture(frame.step), (sheet, frame) => {
    canvas.draw({ sheet, count: 3 * frame.shown, columns: frame.shown, width: wide, height: tall });
    canvas.setAttribute("aria-label", `${ROWS.join(", ")}, at step ${frame.step}`);
  }, (error) => (none.textContent = error.message));

  function show(i) {
    at = Math.max(0, Math.min(frames.length - 1, i));
    const frame = frames[at];
    place.value = at;
    const words = `step ${number(frame.step, 0)}`;
    told.textContent = words;
    place.setAttribute("aria-valuetext", words);
    fetched(frame);
  }
  function pick(i) {
    pause();
    follows = false;
    box.checked = false;
    show(i);
    remember({ frame: frames[at].step });
  }
  function go() {
    pause();
    follows = true;
    box.checked = true;
    show(frames.length - 1);
    remember({ frame: null });
  }
  function start() {
    follows = false;
    box.checked = false;
    if (at >= frames.length - 1) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => (at < frames.length - 1 ? show(at + 1) : (pause(), training && go())), SECOND / PER_SECOND);
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  function forget() {
    kept.forEach((address) => URL.revokeObjectURL(address));
    kept.clear();
  }
  signal.addEventListener("abort", () => {
    pause();
    forget();
  });

  root.draw = (rows) => {
    const next = rows.filter((row) => row.shown);
    const cut = next.length < frames.length;
    const grown = next.length !== frames.length;
    frames = [...next];
    shown.hidden = bar.hidden = !frames.length;
    none.textContent = frames.length ? "" : training ? "The first picture comes with its first step." : "No pictures were kept of this training (train.frames is 0, or it was trained before there were any).";
    if (!frames.length || (!grown && !cut)) return;
    place.max = frames.length - 1;
    if (cut) forget();
    if (follows) show(frames.length - 1);
    else if (!timer) show(chosen === undefined ? at : nearest(Number(chosen)));
    chosen = undefined;
  };
  const nearest = (step) => frames.reduce((best, frame, i) => (Math.abs(frame.step - step) < Math.abs(frames[best].step - step) ? i : best), 0);
  root.live = (now) => {
    training = now;
    following.hidden = !training;
    box.checked = follows && training;
  };
  return root;
}
