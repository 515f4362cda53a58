// What is around: one latent moved along its range, and the held-out images whose codes are nearest.

import { remember } from "../../lib/address.js";
import { newest, post, ready } from "../../lib/api.js";
import { fill, h, number } from "../../lib/dom.js";
import { busy, command, picture, problem, working } from "../../lib/parts.js";
import { tiles } from "../../lib/tiles.js";
import { heldOut, settled } from "./place.js";

/** Make the row of one latent; `focus(latent)` says which. */
export function traverse(run, model, at, state, signal) {
  const known = new Map(model.latents.map((one) => [one.latent, one]));
  let latent = known.has(Number(state.latent)) && state.latent ? Number(state.latent) : model.latents[0].latent;
  let shown = null;
  const row = tiles("Along the latent", { pick(i) {
    const z = [...at.z];
    z[shown.latent] = shown.values[i];
    at.set(z);
  } });
  const title = h("h2", {});
  const [wrong, same] = [h("div", {}), h("div", {})];
  const ask = newest((body) => post(`/api/runs/${run.id}/traverse`, body, signal), show, (error) => fill(wrong, problem(error)));
  function show(found, { latent }) {
    const { values } = (shown = { latent, values: found.values });
    fill(wrong);
    fill(same, command(found.command));
    row.draw(found, (i) => ({ name: `z${latent} at ${number(values[i])}`, caption: number(values[i]) }));
  }
  function now() {
    const { low, high } = known.get(latent);
    title.textContent = `Along z${latent} alone`;
    ask({ z: at.z, latent, low, high: high > low ? high : low + 1, steps: 11 });
  }
  const soon = settled(now, 120, signal);
  at.on(soon);
  now();
  const section = h("section", {}, title, picture(row, "The other latents stay where they are. Hold another slider to see its row.", `along-${run.name}`), wrong, same);
  section.focus_ = (next) => {
    if (next === latent) return;
    latent = next;
    remember({ latent });
    soon();
  };
  return section;
}

/** Make the row of the nearest images: looked for once it is asked, and then wherever one stops. */
export function nearest(run, model, at, state, signal) {
  let following = state.nearest === "1";
  let found = null;
  const row = tiles("Near image", { pick: (i) => at.set(found.z[i], { row: found.rows[i] }) });
  const [told, same] = [h("div", {}), h("div", {})];
  const words = `The ${model.split} ${model.noun} whose codes are nearest to z, by Euclidean distance.`;
  const figure = model.picture ? picture(row, words, `nearest-${run.name}`) : h("div", {}, row, h("p", { class: "note" }, words));
  figure.hidden = true;
  const encoding = working(`The ${model.noun} are being encoded …`);
  const ask = newest((z) => ready(`/api/runs/${run.id}/nearest`, { z, number: 10 }, signal, waiting, post), show, (error) => fill(told, problem(error)));
  function waiting(how) {
    if (!encoding.isConnected) fill(told, encoding);
    encoding.told(how);
  }
  function show(next) {
    found = next;
    fill(told);
    figure.hidden = false;
    fill(same, command(found.command));
    const label = (i) => (found.labels ? `, ${found.labels[i]}` : "");
    row.draw(found, (i) => ({
      name: `${heldOut(model)} ${found.rows[i]}${label(i)}, at a distance of ${number(found.distances[i])}`,
      caption: `${number(found.distances[i])}${label(i)}`,
    }));
  }
  function begin() {
    following = true;
    remember({ nearest: 1 });
    button.hidden = true;
    fill(told, busy("Looking …"));
    ask(at.z);
  }
  const button = h("button", { type: "button", class: "plain", onclick: begin, disabled: model.rows === 0 }, "Find the nearest to z");
  at.on(settled(() => following && ask(at.z), 250, signal));
  if (following && model.rows) begin();
  return h("section", {}, h("h2", {}, `Nearest ${model.split} ${model.noun}`), model.missing ? h("p", { class: "note" }, model.missing) : null, button, told, figure, same);
}
