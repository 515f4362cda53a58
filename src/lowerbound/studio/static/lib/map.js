// The latent map: the codes of a split in a plane, coloured by label; what is below the pointer is decoded.

import { newest, post, ready } from "./api.js";
import { fill, h, number, save, say } from "./dom.js";
import { classColours, colour, packed } from "./map/colours.js";
import { controls, legend } from "./map/controls.js";
import { hands } from "./map/hands.js";
import { density, points } from "./map/load.js";
import { makeMarks } from "./map/marks.js";
import { paintOver } from "./map/overlay.js";
import { densityImage, paintUnder, paintWords, pointPainter } from "./map/paint.js";
import { mapPicture } from "./map/picture.js";
import { makeView, readView } from "./map/view.js";

const HELP = "Arrow keys move a cross, Enter picks what is below it, plus and minus zoom, Shift with an arrow moves the map, 0 shows all of it.";
const SLOW = 12; // milliseconds of painting all points, beyond which they are coarser while the map moves
const none = () => {};

/**
 * Make the map of a run's codes (of its id, or of {id}), an element with its own controls. `moved({z, sheet, numbers, label, row})` is told what is
 * below the pointer, `picked({z, row, label})` what was clicked, `changed(state)` what belongs into the URL; `state`
 * brings that back. It has here(z), anchors([{z, name}]), path([z]), posterior({mu, sigma, name} | null) and close().
 */
export function latentMap(of, { state = {}, moved = none, picked = none, changed = none, label = "Map of the latents" } = {}) {
  const run = of.id ?? of;
  const stop = new AbortController();
  const layers = [0, 1, 2].map(() => h("canvas", { "aria-hidden": "true" }));
  const stage = h("div", { class: "map-stage", tabindex: 0, role: "application", "aria-label": `${label}. ${HELP}` }, layers);
  const [bar, key, below, status] = [h("div", { class: "row map-bar" }), h("div", { class: "row map-legend", role: "group", "aria-label": "Classes" }), h("p", { class: "note map-below" }), h("p", { class: "note", role: "status" })];
  const element = h("div", { class: "map" }, bar, stage, below, key, status);

  const view = makeView();
  const paint = pointPainter(layers[1]);
  const usual = () => ({ plane: undefined, split: undefined, colour: undefined, under: "prior" });
  const chosen = Object.assign(usual(), Object.fromEntries(Object.entries(state).filter(([name, value]) => name in usual() && value)));
  const hidden = new Set((state.hide ?? "").split(".").filter(Boolean).map(Number));
  const over = { here: null, anchors: [], path: [], posterior: null, cursor: null, near: null };
  const plane = () => meta && { plane: meta.plane, split: meta.split };
  const marks = makeMarks(run, plane, (found) => (Object.assign(over, found), draw("over")), failed, stop.signal);
  let [meta, dots, colours, fade, kept, ratio, turn, cost, axes, visit] = [null, null, new Map(), null, readView(state.zoom), 1, 0, 0, [], 0];

  const told = () => changed({ ...chosen, under: chosen.under === "prior" ? undefined : chosen.under, zoom: view.kept(), hide: [...hidden].join(".") || undefined });

  // drawing: once a frame, and only what has changed
  let due = new Set();
  function draw(...parts) {
    if (due.size === 0) requestAnimationFrame(frame);
    parts.forEach((part) => due.add(part));
  }
  function frame() {
    const now = due;
    due = new Set();
    if (!meta || !dots) return;
    if (now.has("under")) axes = paintUnder(layers[0], ratio, view, { density: fade, ...meta });
    if (now.has("points")) dotted(now.has("coarse"));
    paintOver(layers[2], ratio, view, over);
    paintWords(layers[2], axes);
  }
  function dotted(moving) {
    const start = performance.now();
    const fine = !moving || cost < SLOW;
    paint(fine ? ratio : Math.min(1, ratio), view, dots);
    if (fine) cost = performance.now() - start;
  }
  const all = () => draw("under", "points", "over");
  function tint() {
    colours = classColours(meta.classes);
    const packs = new Map([...colours].map(([value, css]) => [value, hidden.has(value) ? 0 : packed(css)]));
    dots.tints = Uint32Array.from(dots.which, (value) => packs.get(value) ?? 0);
  }
  function resize() {
    ratio = window.devicePixelRatio || 1;
    const { width, height } = stage.getBoundingClientRect();
    if (!width) return;
    layers.forEach((layer) => ([layer.width, layer.height] = [Math.round(width * ratio), Math.round(height * ratio)]));
    view.resize(width, height);
    all();
  }

  // loading
  async function load() {
    const mine = ++turn;
    const waiting = ({ words: what, done, of }) => mine === turn && fill(status, `${what} …${of ? ` ${done.toLocaleString("en")} of ${of.toLocaleString("en")}` : ""}`);
    try {
      status.classList.add("busy");
      const found = await ready(`/api/runs/${run}/map`, { plane: chosen.plane, split: chosen.split, colour: chosen.colour }, stop.signal, waiting);
      const some = await points(run, { plane: found.plane, split: found.split, colour: found.colour }, found.count, stop.signal);
      if (mine !== turn) return;
      [meta, dots, fade] = [found, some, null];
      fill(bar, controls(meta, chosen, change), buttons());
      tint();
      legend(key, meta.classes, colours, hidden, () => (tint(), draw("points"), told()));
      view.show(meta.bounds, kept);
      resize();
      marks.place();
      if (meta.flat && chosen.under !== "none") await under(mine, waiting);
      else fill(status, meta.flat ? "" : "UMAP keeps neighbours together; a place stands for the nearest code, and distances say nothing.");
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn) fill(status, h("span", { class: "problem" }, error.message), " ", meta ? null : h("button", { type: "button", class: "quiet", onclick: () => change(usual()) }, "Show the usual map"));
    } finally {
      if (mine === turn) status.classList.remove("busy");
    }
  }
  async function under(mine, waiting) {
    const found = await density(run, { plane: meta.plane, split: meta.split, of: chosen.under }, stop.signal, waiting);
    if (mine !== turn) return;
    fade = densityImage(found, colour(chosen.under === "holes" ? "second" : "accent"));
    const mass = found.mass === null ? "" : ` ${number(100 * found.mass, 0)}% of the prior's mass lies where codes are rarer than it.`;
    fill(status, `Under the points: ${found.words}.${mass}`);
    draw("under");
  }
  function change(what) {
    Object.assign(chosen, what);
    if (!("under" in what)) kept = null;
    if ("colour" in what) hidden.clear();
    told();
    load();
  }
  const buttons = () => h("span", { class: "choice" },
    [["+", "Zoom in", () => does.zoom(1.3)], ["−", "Zoom out", () => does.zoom(1 / 1.3)], ["All", "Show all of the map", () => does.reset()], ["PNG", "Save the map as PNG", take]].map(([text, name, onclick]) =>
      h("button", { type: "button", class: "quiet", "aria-label": name, title: name, onclick }, text)));
  async function take() {
    const shown = meta.classes.filter(({ value }) => !hidden.has(value)).map(({ value, name }) => [name, colours.get(value)]);
    save(await mapPicture(layers, ratio, shown, `${meta.count.toLocaleString("en")} ${meta.split} codes; ${meta.note}`), `map-${meta.plane}.png`);
  }

  // what is below a place
  const where = ([x, y]) => ({ ...plane(), colour: chosen.colour, x, y, base: meta.plane.startsWith("z") ? (marks.asked.here ?? undefined) : undefined });
  const look = newest(({ xy }) => post(`/api/runs/${run}/map/below`, where(xy), stop.signal), shown, failed);
  function shown(found, { xy, keys, pick, during = visit }) {
    if (during !== visit) return; // the pointer has left before the answer came
    over.near = found.place;
    const named = meta.line ? [meta.axes[0]] : meta.axes.map((name) => name.replace(/ \(.*/, ""));
    const text = `${named.map((name, i) => `${name} ${number(xy[i])}`).join(" · ")}. Nearest: ${found.label === null ? "" : `${found.label}, `}row ${found.row}.`;
    fill(below, text);
    if (keys || pick) say(pick ? `Picked. ${text}` : text);
    draw("over");
    const { z, row, label, numbers = null } = found;
    moved({ z, sheet: found.sheet ? found : null, numbers, label, row });
    if (pick) picked({ z, row, label });
  }
  function failed(error) {
    fill(below, h("span", { class: "problem" }, error.message));
  }
  const does = {
    move: (x, y) => dots && (over.cursor = null, look({ xy: view.plane(x, y), during: visit })),
    pick: (x, y) => dots && look({ xy: view.plane(x, y), pick: true }),
    pan: (dx, dy) => (view.pan(dx, dy), shift()),
    zoom: (factor, x, y) => (view.zoomAt(factor, x, y), shift()),
    reset: () => (view.reset(), shift()),
    left: () => ((over.near = over.cursor = null), visit++, draw("over")),
    enter: () => dots && over.cursor && look({ xy: over.cursor, pick: true }),
    cursor(dx, dy) {
      if (!dots) return;
      const from = over.cursor ? view.place(...over.cursor) : [view.width / 2, view.height / 2];
      const [x, y] = over.cursor ? [from[0] + dx, from[1] + dy] : from;
      const [inX, inY] = [Math.min(view.width - 9, Math.max(9, x)), Math.min(view.height - 9, Math.max(9, y))];
      if (inX !== x || inY !== y) (view.pan(inX - x, inY - y), shift()); // the map moves under a cross at its edge
      over.cursor = view.plane(inX, inY);
      draw("over");
      look({ xy: over.cursor, keys: true, during: visit });
    },
  };
  let timer = 0;
  function shift() {
    all();
    draw("coarse");
    clearTimeout(timer);
    timer = setTimeout(() => (all(), told()), 250);
  }

  hands(stage, does, stop.signal);
  const sizes = new ResizeObserver(resize);
  sizes.observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load, { signal: stop.signal });
  load();

  return Object.assign(element, {
    here: (z) => marks.ask({ here: z }),
    anchors: (anchors) => marks.ask({ anchors }),
    path: (path) => marks.ask({ path }),
    posterior: (posterior) => marks.ask({ posterior }),
    close: () => (stop.abort(), sizes.disconnect(), clearTimeout(timer)),
  });
}
