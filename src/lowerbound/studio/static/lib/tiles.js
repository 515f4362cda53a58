// A row or grid of small pictures, each a button: by pointer, or by the arrow keys as one stop of the tab key.

import { fill, h, number } from "./dom.js";
import { images, loaded } from "./parts.js";

/**
 * Make tiles. `draw(found, words)` shows a sheet (see pictures.shown) or, of vectors, {count, numbers}; `words(i)` gives
 * {name, caption} of each; `pick(i)` is called for the one that is chosen; `mark(i)` marks one. `blob()` gives the PNG.
 */
export function tiles(label, { size = 56, pick } = {}) {
  const element = h("div", { class: "tiles", role: "group", "aria-label": label, onkeydown: move });
  let shown = null;
  let latest = 0;

  element.draw = async (found, words = () => ({})) => {
    const turn = ++latest;
    const picture = found.sheet ? await loaded(found.sheet) : null;
    if (turn !== latest) return;
    const at = Math.max(0, [...element.children].indexOf(document.activeElement));
    const focused = element.contains(document.activeElement);
    shown = found;
    fill(element, Array.from({ length: found.count }, (_, i) => tile(found, picture, i, words(i))));
    reach(Math.min(at, found.count - 1), focused);
  };
  element.mark = (i) => [...element.children].forEach((one, j) => one.classList.toggle("marked", i === j));
  element.blob = async () => {
    const canvas = images("", { scale: Math.max(1, Math.round(size / Math.max(shown.width, shown.height))) });
    await canvas.draw(shown, across(element));
    return canvas.blob();
  };

  function tile(found, picture, i, { name = `${label}, ${i + 1} of ${found.count}`, caption }) {
    const inside = picture ? cut(found, picture, i, size) : h("code", {}, numbers(found.numbers[i]));
    return h("button", { type: "button", class: "tile", "aria-label": name, title: name, tabindex: -1, onclick: () => { reach(i); pick?.(i); } },
      inside, caption ? h("span", { class: "note" }, caption) : null);
  }

  function reach(i, focus = false) {
    [...element.children].forEach((one, j) => (one.tabIndex = i === j ? 0 : -1));
    if (focus) element.children[i]?.focus();
  }

  function move(event) {
    const all = [...element.children];
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(element), ArrowUp: -across(element), Home: -all.length, End: all.length };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    reach(Math.min(all.length - 1, Math.max(0, all.indexOf(document.activeElement) + step)), true);
  }
  return element;
}

/** Write a vector for people. */
export const numbers = (values) =>
  values.slice(0, 8).map((value) => number(value)).join(", ") + (values.length > 8 ? ", …" : "");

/** Draw one image of a sheet on a canvas. */
export function put(canvas, found, picture, i) {
  const [w, tall] = [found.width, found.height];
  if (canvas.width !== w || canvas.height !== tall) [canvas.width, canvas.height] = [w, tall];
  canvas.getContext("2d").drawImage(picture, (i % found.columns) * w, Math.floor(i / found.columns) * tall, w, tall, 0, 0, w, tall);
}

function cut(found, picture, i, size) {
  const canvas = h("canvas", { class: "pixels", "aria-hidden": true });
  put(canvas, found, picture, i);
  canvas.style.width = `${Math.round(size * found.width / Math.max(found.width, found.height))}px`;
  return canvas;
}

/** Count the tiles of the first line. */
function across(element) {
  const all = [...element.children];
  const next = all.findIndex((one) => one.offsetTop > all[0].offsetTop);
  return next < 0 ? all.length || 1 : next;
}
