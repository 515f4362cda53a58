// New images from the prior; one that is chosen goes to the sliders.

import { remember } from "../../lib/address.js";
import { newest, post } from "../../lib/api.js";
import * as charts from "../../lib/charts.js";
import { fill, h } from "../../lib/dom.js";
import { choice, command, picture, problem, slider } from "../../lib/parts.js";
import { tiles } from "../../lib/tiles.js";

const COUNTS = [8, 16, 24, 32, 48, 64];

/** Make the section. */
export function samples(run, model, at, state, signal) {
  const kept = (name, usual, low, high) => {
    const value = Number(state[name] ?? NaN);
    return value >= low && value <= high ? value : usual;
  };
  const asked = {
    number: COUNTS.includes(Number(state.count)) ? Number(state.count) : 24,
    seed: Math.round(kept("seed", 0, 0, 2 ** 31 - 1)),
    temperature: kept("temp", 1, 0, 3),
    noise: state.noise === "1",
  };
  let found = null;
  const some = tiles("New sample", { pick: (i) => at.set(found.z[i]) });
  const same = h("div", {});
  const wrong = h("div", {});
  const ask = newest((body) => post(`/api/runs/${run.id}/sample`, body, signal), show, (error) => fill(wrong, problem(error)));

  function show(next) {
    found = next;
    fill(wrong);
    fill(same, command(found.command));
    if (model.picture) some.draw(found);
    else scatter(shown, found.numbers);
  }
  function change(what) {
    Object.assign(asked, what);
    remember({ seed: asked.seed || null, temp: asked.temperature === 1 ? null : asked.temperature, count: asked.number === 24 ? null : asked.number, noise: asked.noise ? 1 : null });
    ask({ ...asked });
  }
  const seed = h("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: asked.seed, onchange: () => change({ seed: Math.min(2 ** 31 - 1, Math.max(0, Math.round(seed.valueAsNumber) || 0)) }) });
  function again() {
    seed.value = (asked.seed + 1) % 2 ** 31;
    change({ seed: seed.valueAsNumber });
  }
  const shown = model.picture ? picture(some, "Choose one, and the sliders go there.", `samples-${run.name}`) : h("div", { class: "points" });
  ask({ ...asked });
  return h("section", { "aria-label": "New samples" }, h("h2", {}, "New samples"),
    h("p", { class: "note" }, model.apart ? `${model.apart} ` : "", "z is drawn from the prior and decoded. A temperature below 1 draws nearer to the prior's middle: more typical, less varied."),
    h("div", { class: "row" },
      slider("Temperature", { min: 0, max: 3, value: asked.temperature, change: (temperature) => change({ temperature }) }),
      h("label", { class: "choice" }, h("span", {}, "Seed"), seed),
      choice("How many", Object.fromEntries(COUNTS.map((n) => [n, n])), String(asked.number), (n) => change({ number: Number(n) })),
      h("label", { class: "choice" }, h("input", { type: "checkbox", checked: asked.noise, onchange: (event) => change({ noise: event.target.checked }) }), h("span", {}, "with the noise of p(x|z)")),
      h("button", { type: "button", onclick: again }, "Others")),
    shown, wrong, same);
}

/** Show samples of vectors as points, by their first two numbers. */
function scatter(element, rows) {
  const second = rows[0].length > 1;
  charts.points(element, {
    title: "New samples", x: "x0", y: second ? "x1" : "",
    series: [{ name: "samples", x: rows.map((row) => row[0]), y: rows.map((row) => (second ? row[1] : 0)) }],
  });
}
