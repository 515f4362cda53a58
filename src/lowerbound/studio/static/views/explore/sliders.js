// A slider for each latent, the highest KL first; of many only the first are shown, others by their number.

import { fill, h, number } from "../../lib/dom.js";
import { slider } from "../../lib/parts.js";

const FIRST = 16;

/** Make the sliders; `focused(latent)` is told which one is held. */
export function sliders(model, at, { focused }) {
  const rows = new Map();
  const home = model.centre ?? at.z;
  const list = h("div", { class: "latents" });
  const more = h("button", { type: "button", class: "quiet", onclick: () => show(rows.size + FIRST) });
  const wanted = h("input", { type: "number", min: 0, max: model.latents.length - 1, placeholder: "0", required: true, "aria-label": "Number of the latent" });

  function row(latent) {
    if (!rows.has(latent.latent)) rows.set(latent.latent, one(latent, home, at, focused));
    return rows.get(latent.latent);
  }
  function show(count) {
    const some = model.latents.slice(0, count);
    list.append(...some.filter(({ latent }) => !rows.has(latent)).map(row));
    rest();
  }
  function rest() {
    const left = model.latents.length - rows.size;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(FIRST, left)} more of ${left}`;
  }
  function find(event) {
    event.preventDefault();
    const latent = model.latents.find((one) => one.latent === wanted.valueAsNumber);
    if (!latent) return;
    if (!rows.has(latent.latent)) list.prepend(row(latent));
    rest();
    row(latent).input.focus();
  }
  at.on((z, from) => rows.forEach((element, latent) => latent !== from && element.show(z[latent])));
  show(FIRST);
  const known = model.latents.some(({ kl }) => kl !== null);
  return h("div", {},
    h("p", { class: "note" }, known ? "The latent with the highest KL, in nats, comes first. " : model.point ? "An autoencoder’s code is a point: no latent has a KL. " : "The KL of each latent is not known. ",
      model.latents.some(({ collapsed }) => collapsed) ? "Grey ones are not in use: they change next to nothing. " : "", "Double-click or Delete puts one back."),
    list,
    model.latents.length > FIRST
      ? h("form", { class: "row", onsubmit: find }, more, h("label", { class: "choice" }, h("span", {}, "Find"), wanted), h("button", { type: "submit", class: "quiet" }, "Show it"))
      : null);
}

function one({ latent, kl, low, high, collapsed }, home, at, focused) {
  const step = 10 ** Math.floor(Math.log10(Math.max(1e-6, high - low) / 50)) / 2;
  const element = slider(`z${latent}`, { min: Math.floor(low / step) * step, max: Math.ceil(high / step) * step, step, value: at.z[latent], change });
  const { input } = element;
  function change(value) {
    const z = [...at.z];
    z[latent] = value;
    at.set(z, { from: latent });
  }
  element.show = (value) => {
    const beyond = Math.ceil(Math.max(input.min - value, value - input.max) / step) * step; // a place outside of the codes
    if (beyond > 0) [input.min, input.max] = [Number(input.min) - beyond, Number(input.max) + beyond];
    element.set(value);
  };
  const back = () => {
    element.show(home[latent]);
    change(home[latent]);
  };
  input.addEventListener("dblclick", back);
  input.addEventListener("keydown", (event) => (event.key === "Delete" || event.key === "Backspace") && back());
  input.addEventListener("focus", () => focused(latent));
  input.addEventListener("pointerdown", () => focused(latent));
  const told = kl === null ? "" : `${number(kl)} nats`;
  input.setAttribute("aria-label", [`z${latent}`, told && `KL ${told}`, collapsed && "not in use"].filter(Boolean).join(", "));
  element.classList.toggle("collapsed", collapsed);
  fill(element.firstChild, `z${latent} `, h("small", {}, kl === null ? "" : number(kl)));
  element.show(at.z[latent]);
  return element;
}
