// A trained model under one's hand: sliders, a map, samples, ways between places, and what is near.

import { remember } from "../lib/address.js";
import { get, newest, post } from "../lib/api.js";
import { fromText, toText } from "../lib/codes.js";
import { fill, h, number, say } from "../lib/dom.js";
import { head } from "../lib/head.js";
import { latentMap } from "../lib/map.js";
import { command, images, loading, picture, problem } from "../lib/parts.js";
import { nearest, traverse } from "./explore/near.js";
import { heldOut, place, settled } from "./explore/place.js";
import { samples } from "./explore/samples.js";
import { sliders } from "./explore/sliders.js";
import { way } from "./explore/way.js";

const SIZE = 320; // pixels that the decoded image has at least, where it is smaller
const SEED = 0; // of the noise of p(x|z), the same at each place: what changes is z

export default {
  title: "Explore",
  show: (root, address, signal) =>
    loading(root, "Opening the model …", () => opened(address, signal), (found) => page(address, found, signal)),
};

async function opened({ run, state }, signal) {
  const [known, model] = await Promise.all([get(`/api/runs/${run}`, {}, signal), get(`/api/runs/${run}/model`, {}, signal)]);
  const latents = model.latents.length;
  const given = state.z ? fromText(state.z, latents) : null;
  const first = given || model.centre || !model.rows ? null : (await get(`/api/runs/${run}/start`, { image: 0 }, signal)).z;
  return { run: known, model, z: given ?? model.centre ?? first ?? new Array(latents).fill(0) };
}

function page({ state }, { run, model, z }, signal) {
  const at = place(z, /^\d{1,9}$/.test(state.row ?? "") ? Number(state.row) : null);
  // the cross on the map comes after the picture, which must not wait for it
  const show = decoded(run, model, at, state, () => map?.here(at.z), signal);
  const row = model.picture ? traverse(run, model, at, state, signal) : null;
  const map = model.missing ? null : latentMap(run.id, {
    state, changed: remember,
    moved: ({ sheet, numbers }) => show.preview(sheet ?? { numbers }),
    left: () => show.now(),
    picked({ z }) {
      at.set(z);
      anchors.pin(z);
    },
  });
  const anchors = way(run, model, at, state, { anchors: (some) => map?.anchors(some), path: (z) => map?.path(z) }, signal);
  signal.addEventListener("abort", () => map?.close());
  const kept = settled(() => remember({ z: toText(at.z), row: at.row }), 200, signal);
  at.on(() => {
    show.now();
    kept();
  });
  show.now();
  map?.here(at.z);
  return [head(run, "explore"), h("div", { class: "explore" },
    h("div", { class: model.picture ? "seen pictured" : "seen" }, show.element),
    h("div", { class: "set" }, h("h2", {}, "Latents"), begin(run, model, at, signal), sliders(model, at, { focused: (latent) => row?.focus_(latent) }), show.same),
    map ? h("div", { class: "over" }, h("h2", {}, "Map"), map) : null),
  row, anchors, samples(run, model, at, state, signal), nearest(run, model, at, state, signal)];
}

/** What the place decodes to: always that of the newest place, or for a while of another one; `then` comes after each. */
function decoded(run, model, at, state, then, signal) {
  const [wrong, same] = [h("div", {}), h("div", {})];
  const told = h("p", { class: "note value" });
  const scale = Math.max(1, Math.ceil(SIZE / Math.max(...model.shape.slice(-2))));
  const canvas = model.picture ? images("The image that z decodes to", { scale }) : h("div", { class: "wide", role: "group", tabindex: 0, "aria-label": "What z decodes to" });
  const words = h("span", {});
  const draw = (found, what, noisy) => {
    words.textContent = `${what} decodes to this: ${noisy ? "a draw from" : "the mean of"} p(x|z), from the ${model.note}.`;
    return model.picture ? canvas.draw(found) : fill(canvas, table(found.numbers[0]));
  };
  let [here, elsewhere, noise] = [null, false, state.draw === "1"];
  const ask = newest((body) => post(`/api/runs/${run.id}/decode`, body, signal), async (found, { z: [z], seed }) => {
    here = { found, z, noisy: seed !== undefined };
    fill(wrong);
    fill(same, command(found.command));
    if (!elsewhere) await draw(found, "z", here.noisy);
    then();
  }, (error) => {
    fill(wrong, problem(error));
    then();
  });
  if (model.picture) readout(canvas, scale, told);
  function now() {
    elsewhere = false;
    if (here?.z === at.z && here.noisy === noise) draw(here.found, "z", noise);
    else ask({ z: [at.z], seed: noise ? SEED : undefined });
  }
  const noisy = h("label", { class: "choice" }, h("input", { type: "checkbox", checked: noise, onchange(event) {
    noise = event.target.checked;
    remember({ draw: noise ? 1 : null });
    now();
  } }), h("span", {}, "with the noise of p(x|z)"));
  return {
    same,
    element: h("div", {}, model.picture ? picture(canvas, words, `decoded-${run.name}`) : [h("p", { class: "note" }, "The data are vectors: z decodes to numbers, not to a picture. ", words), canvas], noisy, told, wrong),
    now,
    preview(found) {
      elsewhere = true;
      draw(found, "The place under the pointer", false);
    },
  };
}

const table = (numbers) => h("table", {}, h("tbody", {}, numbers.map((value, i) =>
  h("tr", {}, h("th", { scope: "row" }, `x${i}`), h("td", { class: "figure" }, number(value, 3))))));

/** Tell the value of the pixel under the pointer. */
function readout(canvas, scale, told) {
  canvas.addEventListener("pointermove", (event) => {
    const ratio = canvas.width / canvas.clientWidth;
    const [x, y] = [event.offsetX, event.offsetY].map((value) => Math.floor((value * ratio) / scale));
    const [r, g, b] = canvas.getContext("2d").getImageData(x * scale, y * scale, 1, 1).data;
    const value = r === g && g === b ? (r / 255).toFixed(2) : [r, g, b].map((one) => (one / 255).toFixed(2)).join(", ");
    told.textContent = `row ${y}, column ${x}: ${value}`;
  });
  canvas.addEventListener("pointerleave", () => (told.textContent = ""));
}

/** Where to start from: a held-out image, a new sample, the prior's middle. */
function begin(run, model, at, signal) {
  const wrong = h("div", {});
  const one = heldOut(model);
  const row = h("input", { type: "number", min: 0, max: Math.max(0, model.rows - 1), step: 1, value: at.row ?? 0, "aria-label": `Row of the ${one}` });
  const go = newest((work) => work(), () => fill(wrong), (error) => fill(wrong, problem(error)));
  async function image() {
    const chosen = Math.max(0, Math.round(row.valueAsNumber) || 0);
    const found = await get(`/api/runs/${run.id}/start`, { image: chosen }, signal);
    at.set(found.z, { row: chosen });
    say(`At ${one} ${chosen}${found.label ? `, ${found.label}` : ""}`);
  }
  async function sample() {
    const found = await post(`/api/runs/${run.id}/sample`, { number: 1, seed: Math.floor(Math.random() * 2 ** 31) }, signal);
    at.set(found.z[0]);
  }
  const nowhere = model.centre ? undefined : model.apart ?? "This prior has no middle.";
  return h("form", { class: "row begin", onsubmit: (event) => (event.preventDefault(), go(image)) },
    h("span", { class: "note" }, "Start from"),
    model.rows ? [h("label", { class: "choice" }, h("span", {}, one), row), h("button", { type: "submit", class: "quiet" }, "Go")] : null,
    h("button", { type: "button", class: "quiet", onclick: () => go(sample) }, "A new sample"),
    h("button", { type: "button", class: "quiet", disabled: !model.centre, title: nowhere, onclick: () => at.set(model.centre) }, "The prior’s middle"),
    wrong);
}
