// Anchors, pinned in the latent space, and the way through them: as a strip, an animation, a GIF.

import { remember } from "../../lib/address.js";
import { file, newest, post } from "../../lib/api.js";
import { anchorsFromText, anchorsToText } from "../../lib/codes.js";
import { fill, h, save, say } from "../../lib/dom.js";
import { choice, command, loaded, picture, problem } from "../../lib/parts.js";
import { player } from "../../lib/player.js";
import { numbers, put, tiles } from "../../lib/tiles.js";
import { heldOut } from "./place.js";

const KINDS = { spherical: "spherical", linear: "linear" };
const MOST = 16;
const WORDS = "Linear is the straight line; spherical keeps the length that samples of the prior have. Choose a step, and the sliders go there.";

/** Make the section; a map is told what it can show by anchors([{z, name}]) and path([z]). `pin(z, row)` adds an anchor. */
export function way(run, model, at, state, map, signal) {
  const latents = model.latents.length;
  let anchors = anchorsFromText(state.anchors, latents);
  const asked = { kind: state.kind in KINDS ? state.kind : "spherical", steps: steps(state.steps) };
  let found = null;
  const list = h("ol", { class: "anchors" });
  const strip = tiles("On the way", { pick: (i) => at.set(found.z[i]) });
  const film = player("The way, as an animation", { pace: Number(state.pace), end: state.end, changed: pace, seen: (i) => strip.mark(i) }, signal);
  const [same, wrong, result] = [h("div", {}), h("div", {}), h("div", {})];
  const fail = (error) => fill(wrong, problem(error));
  let begin = false;

  const pictures = newest((z) => post(`/api/runs/${run.id}/decode`, { z }, signal), (sheet, z) => z.length === anchors.length && small(sheet), fail);
  const walk = newest((body) => post(`/api/runs/${run.id}/way`, body, signal), show, fail);

  function pace({ pace, end }) {
    remember({ pace: pace === 8 ? null : pace, end: end === "loops" ? null : end });
  }
  function body() {
    return { anchors: anchors.map(({ z }) => z), rows: anchors.map(({ row }) => row), ...asked };
  }
  function change(next, play = true) {
    anchors = next;
    begin = play;
    remember({ anchors: anchorsToText(anchors) || null, kind: asked.kind === "spherical" ? null : asked.kind, steps: asked.steps === 11 ? null : asked.steps });
    fill(wrong);
    listed();
    result.hidden = anchors.length < 2;
    map.anchors(anchors.map(({ z }, i) => ({ z, name: String(i + 1) })));
    if (anchors.length) pictures(anchors.map(({ z }) => z));
    if (anchors.length > 1) return walk(body());
    film.stop();
    map.path([]);
  }

  function listed() {
    fill(list, anchors.map(({ z, row }, i) => {
      const name = row === null ? `Anchor ${i + 1}` : `${heldOut(model)} ${row}`;
      const act = (text, what, work, off = false) => h("button", { type: "button", class: "quiet", disabled: off, "aria-label": `${what} ${name}`, title: what, onclick: work }, text);
      return h("li", {},
        model.picture ? h("canvas", { class: "pixels", role: "img", "aria-label": name }) : h("code", {}, numbers(z)),
        h("span", {}, name),
        act("Go", "Go to", () => at.set(z, { row })),
        act("↑", "Move up", () => swap(i, i - 1), i === 0),
        act("↓", "Move down", () => swap(i, i + 1), i === anchors.length - 1),
        act("×", "Remove", () => { change(anchors.toSpliced(i, 1)); say(`${name} removed`); list.parentElement.querySelector("button").focus(); }));
    }));
  }
  function swap(i, j) {
    const next = [...anchors];
    [next[i], next[j]] = [next[j], next[i]];
    change(next);
    [...list.children[j].querySelectorAll("button:enabled")].find((one) => one.textContent === (j < i ? "↑" : "↓"))?.focus();
  }
  async function small(sheet) {
    if (!model.picture) return;
    const whole = await loaded(sheet.sheet);
    [...list.querySelectorAll("canvas")].slice(0, sheet.count).forEach((canvas, i) => put(canvas, sheet, whole, i));
  }
  function show(next, { steps }) {
    if (anchors.length < 2) return; // they were removed meanwhile
    found = next;
    const end = (i) => (i % (steps - 1) ? undefined : `${i / (steps - 1) + 1}`);
    strip.draw(found, (i) => ({ name: `Step ${i + 1} of ${found.count} on the way`, caption: end(i) }));
    if (model.picture) film.draw(found, begin);
    fill(same, command(found.command));
    map.path(found.z);
  }
  async function animation(event) {
    const { pace, end } = film.settings();
    event.target.disabled = true;
    try {
      save(await file(`/api/runs/${run.id}/way.gif`, { anchors: anchors.map(({ z }) => z), ...asked, pace, loops: end !== "once", back: end === "back" }, signal), `way-${run.name}.gif`);
      say("Saved");
    } catch (error) {
      fail(error);
    }
    event.target.disabled = false;
  }
  const count = h("input", { type: "number", min: 2, max: 60, step: 1, value: asked.steps, onchange() {
    asked.steps = steps(count.value);
    count.value = asked.steps;
    change(anchors);
  } });
  fill(result,
    h("div", { class: "row" },
      choice("Between them", KINDS, asked.kind, (kind) => { asked.kind = kind; change(anchors); }),
      h("label", { class: "choice" }, h("span", {}, "Steps from one to the next"), count)),
    model.picture ? film : null,
    model.picture ? picture(strip, WORDS, `way-${run.name}`) : [strip, h("p", { class: "note" }, WORDS)],
    same);
  film.lastChild.append(h("button", { type: "button", class: "quiet", onclick: animation }, "Save GIF"));

  const section = h("section", {}, h("h2", {}, "Anchors, and the way between them"),
    h("p", { class: "note" }, "Pin where the sliders are (start from a row or a sample, or go to any place first), or click on the map. Two anchors or more make a way."),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => section.pin(at.z, at.row) }, "Pin this place"),
      h("button", { type: "button", class: "quiet", onclick: () => change([]) }, "Remove all")),
    list, result, wrong);
  section.pin = (z, row = null) => {
    if (anchors.length >= MOST) return fail(new Error(`${MOST} anchors are the most: remove one first.`));
    change([...anchors, { z: [...z], row }]);
    say(`Anchor ${anchors.length} pinned`);
  };
  change(anchors, false);
  return section;
}

/** Read a number of steps. */
function steps(text) {
  const value = Math.round(Number(text ?? 11));
  return value >= 2 && value <= 60 ? value : 11;
}
