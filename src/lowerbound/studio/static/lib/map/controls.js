// The map's controls: which plane, which split, what colours the points, what lies under them; and the legend.

import { fill, h } from "../dom.js";
import { choice } from "../parts.js";

export const UNDER = { none: "nothing", prior: "the prior's density", codes: "the codes' density", holes: "holes: prior without codes" };

/** Make the row of choices; `change({...})` says what was chosen. */
export function controls(meta, chosen, change) {
  const several = Object.keys(meta.splits).length > 1;
  const colours = meta.colours.length > 1;
  return [
    meta.line ? null : planes(meta, change),
    several ? choice(meta.noun[0].toUpperCase() + meta.noun.slice(1), Object.fromEntries(Object.entries(meta.splits).map(([name, n]) => [name, `${name} (${n.toLocaleString("en")})`])), meta.split, (split) => change({ split })) : null,
    colours ? choice("Colour", Object.fromEntries(meta.colours.map((name) => [name, name])), meta.colour, (colour) => change({ colour })) : null,
    meta.flat ? choice("Under it", UNDER, chosen.under, (under) => change({ under })) : null,
  ];
}

function planes(meta, change) {
  const two = meta.plane.startsWith("z");
  const [i, j] = two ? meta.plane.split(".") : meta.latents.slice(0, 2).map((k) => `z${k}`);
  const kind = h("select", { "aria-label": "Plane", class: "map-kind", onchange: () => change({ plane: kind.value }) },
    h("option", { value: `${i}.${j}`, selected: two }, "two latents"),
    h("option", { value: "pca", selected: meta.plane === "pca" }, "PCA"),
    h("option", { value: "umap", selected: meta.plane === "umap", disabled: !meta.umap }, meta.umap ? "UMAP" : "UMAP (pip install 'lowerbound[umap]')"));
  const axis = (name, mine, other, write) => h("select", { "aria-label": name, onchange: (event) => change({ plane: write(event.target.value) }) },
    meta.latents.map((k) => `z${k}`).filter((z) => z !== other).map((z) => h("option", { value: z, selected: z === mine }, z)));
  return h("span", { class: "choice" }, h("span", {}, "Plane"), kind,
    two ? [axis("Across", i, j, (z) => `${z}.${j}`), h("span", { "aria-hidden": "true" }, "×"), axis("Upwards", j, i, (z) => `${i}.${z}`)] : null);
}

/** Make the buttons of the map; `does` has zoom(factor), reset() and take(). */
export const buttons = (does) => h("span", { class: "choice" },
  [["+", "Zoom in", () => does.zoom(1.3)], ["−", "Zoom out", () => does.zoom(1 / 1.3)], ["All", "Show all of the map", does.reset], ["PNG", "Save the map as PNG", does.take]].map(([text, name, onclick]) =>
    h("button", { type: "button", class: "quiet", "aria-label": name, title: name, onclick }, text)));

/** Put other controls into a row; the one of the same name keeps the keyboard. */
export function replaced(bar, ...more) {
  const name = (one) => one.getAttribute("aria-label") ?? one.labels?.[0]?.firstChild.textContent;
  const held = bar.contains(document.activeElement) ? name(document.activeElement) : null;
  fill(bar, more);
  if (held) [...bar.querySelectorAll("select, button")].find((one) => name(one) === held)?.focus();
}

/** Fill the legend: a class is hidden, or shown again, by its button. */
export function legend(element, classes, colours, hidden, change) {
  element.hidden = classes.length === 0;
  fill(element, classes.map(({ value, name, count }) => {
    const swatch = h("span", { class: "map-swatch", style: `background:${colours.get(value)}` });
    const button = h("button", { type: "button", class: "map-class", title: `${count.toLocaleString("en")} points`, "aria-pressed": String(!hidden.has(value)), onclick }, swatch, name);
    function onclick() {
      if (!hidden.delete(value)) hidden.add(value);
      button.setAttribute("aria-pressed", String(!hidden.has(value)));
      change();
    }
    return button;
  }));
}
