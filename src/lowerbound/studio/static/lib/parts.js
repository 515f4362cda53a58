// Parts that several views have: a command, a picture, a slider, an error.

import { fill, h, number, save, say } from "./dom.js";

/** Show the command that does the same, or the line of Python, to be copied. */
export function command(text, label = text.startsWith("import") ? "The same in Python" : "The same on the command line") {
  const shown = h("code", {}, text);
  const button = h("button", { type: "button", class: "quiet", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shown);
      button.textContent = "Copy what is marked";
    }
    say(button.textContent);
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }
  return h("div", { class: "command" }, h("span", { class: "note" }, label), shown, button);
}

/** Show what went wrong. */
export const problem = (error) => h("p", { class: "problem", role: "alert" }, error.message ?? String(error));

/** Say that something is being worked on. */
export const busy = (text) => h("p", { class: "note busy", role: "status" }, text);

/** The same of long work, with a bar: `element.told({done, of})` says how far it is. */
export function working(text) {
  const bar = h("progress", { "aria-label": text });
  const told = ({ done, of }) => of && Object.assign(bar, { max: of, value: done });
  return Object.assign(h("div", {}, busy(text), bar), { told });
}

/** A labelled slider; `change(value)` is called at every move. */
export function slider(label, { min, max, step = 0.05, value = 0, change, title }) {
  const shown = h("output", {}, number(value));
  const input = h("input", { type: "range", min, max, step, value, "aria-label": label, title, oninput: moved });
  function moved() {
    shown.textContent = number(input.valueAsNumber);
    change(input.valueAsNumber);
  }
  const element = h("label", { class: "slider" }, h("span", {}, label), input, shown);
  element.set = (next) => {
    input.value = next;
    shown.textContent = number(Number(next));
  };
  element.input = input;
  return element;
}

/** A choice among a few: {value: name}. */
export function choice(label, options, value, change) {
  const select = h("select", { onchange: () => change(select.value) },
    Object.entries(options).map(([key, name]) => h("option", { value: key, selected: key === value }, name)));
  return h("label", { class: "choice" }, h("span", {}, label), select);
}

/**
 * A canvas that shows the images of a sheet (see pictures.shown), each `scale` times as large, pixels crisp.
 * `draw(sheet)` shows another one; `canvas.blob()` gives the PNG. Until the first is drawn its figure is not there.
 */
export function images(alt, { scale = 4, gap = 1, columns } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": alt, class: "pixels", hidden: true });
  let latest = 0;
  canvas.draw = async (sheet, across = columns) => {
    const turn = ++latest;
    const picture = await loaded(sheet.sheet);
    if (turn !== latest) return; // a newer one came first
    const over = across ?? sheet.columns;
    canvas.hidden = false;
    const [w, tall] = [sheet.width, sheet.height];
    canvas.width = over * (w * scale + gap) - gap;
    canvas.height = Math.ceil(sheet.count / over) * (tall * scale + gap) - gap;
    const to = canvas.getContext("2d");
    to.imageSmoothingEnabled = false;
    for (let i = 0; i < sheet.count; i++) {
      const [sx, sy] = [(i % sheet.columns) * w, Math.floor(i / sheet.columns) * tall];
      const [x, y] = [(i % over) * (w * scale + gap), Math.floor(i / over) * (tall * scale + gap)];
      to.drawImage(picture, sx, sy, w, tall, x, y, w * scale, tall * scale);
    }
  };
  canvas.blob = () => new Promise((done) => canvas.toBlob(done, "image/png"));
  return canvas;
}

/** Load a picture: of a data address as a bitmap, which waits for no frame as an <img> does. */
export async function loaded(address) {
  if (address.startsWith("data:")) return createImageBitmap(blobOf(address));
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  return picture;
}

function blobOf(address) {
  const [head, data] = address.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

/** A figure around a canvas (or an element with `blob()`), with a button that saves it as PNG. */
export function picture(canvas, caption, name) {
  const take = h("button", { type: "button", class: "quiet", onclick: async () => save(await canvas.blob(), `${name}.png`) }, "Save PNG");
  return h("figure", {}, canvas, h("figcaption", {}, h("span", {}, caption), take));
}

/** The tabs of a run; of vectors nothing is drawn, and only a diagonal Gaussian posterior is explained. */
export function tabs(run, here, href) {
  const views = { watch: "Watch", explore: "Explore", ...(run.shape?.length === 1 ? {} : { draw: "Draw", ...(run.gaussian ? { tour: "Understand" } : {}) }) };
  return h("nav", { class: "tabs", "aria-label": "This run" },
    Object.entries(views).map(([view, name]) => h("a", { href: href(view, run.id), "aria-current": view === here ? "page" : undefined }, name)));
}

/** Load a view's data: shows that it is under way, then what `show` makes of it, or what went wrong. */
export async function loading(root, text, work, show) {
  fill(root, busy(text));
  try {
    const found = await work();
    fill(root, show(found));
  } catch (error) {
    if (error.name !== "AbortError") fill(root, h("h1", {}, document.title.split(" · ")[0]), problem(error));
  }
}
