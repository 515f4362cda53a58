// What a model says of an image, shown: its posterior as bars over the latents, and its costs in nats.

import { fill, h, number } from "./dom.js";

const REACH = 4; // of the tracks
const FIRST = 12; // latents that are shown before one asks for all
const at = (value) => `${Math.min(100, Math.max(0, ((value + REACH) / (2 * REACH)) * 100))}%`;

/** A track from −4 to 4 with a dot at `centre` and a bar of ± `spread`; it is told in words beside it. */
function track(centre, spread, second) {
  const bar = h("span", { class: "track-bar" });
  Object.assign(bar.style, { left: at(centre - spread), right: `calc(100% - ${at(centre + spread)})` });
  const dot = h("span", { class: "track-dot" });
  dot.style.left = at(centre);
  const other = second === undefined ? null : h("span", { class: "track-dot other" });
  if (other) other.style.left = at(second);
  return h("span", { class: "track", "aria-hidden": "true" }, bar, dot, other);
}

/** Order the latents: those that cost most first, where that is known. */
export const order = (rates, count) =>
  [...Array(count).keys()].sort((a, b) => (rates ? rates[b] - rates[a] : 0));

/** A list of latents that can be filled again and again: `show({mu, sigma, rates})`; columns say what stands beside. */
export function latents(columns) {
  let all = false;
  let shown = null;
  const rows = h("tbody");
  const more = h("button", { type: "button", class: "quiet", onclick: () => { all = !all; show(shown); } });
  const root = h("div", { hidden: true });
  function show(found) {
    shown = found;
    root.hidden = false;
    const count = found.mu.length;
    const chosen = order(found.rates, count).slice(0, all ? count : FIRST);
    fill(rows, chosen.map((i) => h("tr", {}, h("th", { scope: "row" }, `z${i}`), columns.map(({ cell, figure }) => h("td", figure ? { class: "figure" } : {}, cell(found, i))))));
    more.hidden = count <= FIRST;
    more.textContent = all ? `Show the ${FIRST} that say most` : `Show all ${count}`;
  }
  const table = h("table", { class: "latents" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Latent"), columns.map(({ name, figure }) => h("th", { scope: "col", ...(figure ? { class: "figure" } : {}) }, name)))), rows);
  fill(root, h("div", { class: "wide", role: "group", tabindex: 0, "aria-label": "The latents, in a table" }, table), more);
  return Object.assign(root, { show });
}

export const SPREAD = { name: "μ ± σ, from −4 to 4", cell: ({ mu, sigma }, i) => track(mu[i], sigma[i]) };
export const MU = { name: "μ", figure: true, cell: ({ mu }, i) => number(mu[i]) };
export const SIGMA = { name: "σ", figure: true, cell: ({ sigma }, i) => number(sigma[i]) };
export const EPS = { name: "ε", figure: true, cell: ({ eps }, i) => number(eps[i]) };
export const NOISE = { name: "ε, from −4 to 4", cell: ({ eps }, i) => track(eps[i], 0) };
export const Z = { name: "z", figure: true, cell: ({ z }, i) => number(z[i]) };
export const PLACED = { name: "μ ± σ, and z", cell: ({ mu, sigma, z }, i) => track(mu[i], sigma[i], z[i]) };
export const RATE = { name: "rate, nats", figure: true, cell: ({ rates }, i) => number(rates?.[i]) };
export const RATES = { name: "what it costs", cell: ({ rates }, i) => meter(rates?.[i], rates ? Math.max(...rates, 1e-9) : 1) };

function meter(value, most) {
  const bar = h("span", { class: "meter-bar" });
  bar.style.width = `${Math.max(0, ((value ?? 0) / most) * 100)}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, bar);
}

/** The costs, as terms and numbers. */
export function costs({ distortion, rate, elbo }) {
  const one = (name, value, words) => h("div", {}, h("dt", {}, name), h("dd", {}, `${number(value)} nats`, h("span", { class: "note" }, words)));
  return h("dl", { class: "costs" },
    one("distortion", distortion, "how badly the image comes back"),
    rate === null ? h("div", {}, h("dt", {}, "rate"), h("dd", {}, "–", h("span", { class: "note" }, "an autoencoder's code is a point: it has no rate and no elbo"))) : [
      one("rate", rate, "how much the code says about the image"),
      one("elbo", elbo, "−(distortion + rate): on average at most log p(x)")]);
}
