// The latent map: the codes of a split in a plane, coloured by label; what is below the pointer is decoded.

import { newest, post } from "./api.js";
import { fill, h, number, save, say } from "./dom.js";
import { classColours, colour, packed } from "./map/colours.js";
import { controls, legend } from "./map/controls.js";
import { hands } from "./map/hands.js";
import { density, points, ready } from "./map/load.js";
import { paintOver } from "./map/overlay.js";
import { densityImage, paintUnder, pointPainter } from "./map/paint.js";
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
  const element = h("div", { class: "map" }, bar, status, stage, below, key);

  const view = makeView();
  const paint = pointPainter(layers[1]);
  const chosen = { plane: state.plane, split: state.split, colour: state.colour, under: state.under ?? "prior" };
  const hidden = new Set((state.hide ?? "").split(".").filter(Boolean).map(Number));
  const over = { here: null, anchors: [], path: [], posterior: null, cursor: null, near: null };
  const asked = { here: null, anchors: [], path: [], posterior: null };
  let [meta, dots, colours, fade, kept, ratio, turn, cost] = [null, null, new Map(), null, readView(state.zoom), 1, 0, 0];

  const words = () => ({ plane: meta.plane, split: meta.split, colour: chosen.colour });
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
    if (now.has("under")) paintUnder(layers[0], ratio, view, { density: fade, ...meta });
    if (now.has("points")) dotted(now.has("coarse"));
    paintOver(layers[2], ratio, view, over);
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
      place();
      if (meta.flat && chosen.under !== "none") await under(mine, waiting);
      else fill(status, meta.flat ? "" : "UMAP keeps neighbours together; a place stands for the nearest code, and distances say nothing.");
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn) fill(status, h("span", { class: "problem" }, error.message));
    } finally {
      if (mine === turn) status.classList.remove("busy");
    }
  }
  async function under(mine, waiting) {
    const found = await density(run, { plane: meta.plane, split: meta.split, of: chosen.under }, stop.signal, waiting);
    if (mine !== turn) return;
    fade = densityImage(found, colour(chosen.under === "holes" ? "second" : "accent"));
    const mass = found.mass === null ? "" : ` ${number(100 * found.mass, 0)}% of the prior's mass lies where there are too few codes.`;
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
  const where = ([x, y]) => ({ ...words(), x, y, base: meta.plane.startsWith("z") && asked.here ? asked.here : undefined });
  const look = newest(({ xy }) => post(`/api/runs/${run}/map/below`, where(xy), stop.signal), shown, failed);
  function shown(found, { xy, keys, pick }) {
    over.near = found.place;
    const axes = meta.line ? [meta.axes[0]] : meta.axes.map((name) => name.replace(/ \(.*/, ""));
    const text = `${axes.map((name, i) => `${name} ${number(xy[i])}`).join(" · ")}. Nearest: ${found.label === null ? "" : `${found.label}, `}row ${found.row}.`;
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
    move: (x, y) => dots && (over.cursor = null, look({ xy: view.plane(x, y) })),
    pick: (x, y) => dots && look({ xy: view.plane(x, y), pick: true }),
    pan: (dx, dy) => (view.pan(dx, dy), shift()),
    zoom: (factor, x, y) => (view.zoomAt(factor, x, y), shift()),
    reset: () => (view.reset(), shift()),
    left: () => ((over.near = over.cursor = null), draw("over")),
    enter: () => dots && over.cursor && look({ xy: over.cursor, pick: true }),
    cursor(dx, dy) {
      if (!dots) return;
      const from = over.cursor ? view.place(...over.cursor) : [view.width / 2, view.height / 2];
      const [x, y] = over.cursor ? [from[0] + dx, from[1] + dy] : from;
      const [inX, inY] = [Math.min(view.width - 9, Math.max(9, x)), Math.min(view.height - 9, Math.max(9, y))];
      if (inX !== x || inY !== y) (view.pan(inX - x, inY - y), shift()); // the map moves under a cross at its edge
      over.cursor = view.plane(inX, inY);
      draw("over");
      look({ xy: over.cursor, keys: true });
    },
  };
  let timer = 0;
  function shift() {
    all();
    draw("coarse");
    clearTimeout(timer);
    timer = setTimeout(() => (all(), told()), 250);
  }

  // what the view around it shows on the map: asked of the server in one go
  const project = newest((items) => items(), none, failed);
  const at = async (z, sigma) => post(`/api/runs/${run}/map/project`, { plane: meta.plane, split: meta.split, z, sigma }, stop.signal);
  function place() {
    if (!meta) return;
    project(async () => {
      const { here, anchors, path, posterior } = asked;
      const z = [...(here ? [here] : []), ...anchors.map((one) => one.z), ...path].slice(0, 64);
      const { xy } = z.length ? await at(z) : { xy: [] };
      const q = posterior ? await at([posterior.mu], [posterior.sigma]) : null;
      over.here = here ? xy.shift() : null;
      over.anchors = anchors.map((one) => ({ name: one.name ?? "", xy: xy.shift() })).filter((one) => one.xy);
      over.path = xy;
      over.posterior = q && { xy: q.xy[0], ellipse: q.ellipse?.[0], name: posterior.name };
      draw("over");
    });
  }
  const ask = (what) => (Object.assign(asked, what), place());

  hands(stage, does, stop.signal);
  const sizes = new ResizeObserver(resize);
  sizes.observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load, { signal: stop.signal });
  load();

  return Object.assign(element, {
    here: (z) => ask({ here: z }),
    anchors: (anchors) => ask({ anchors }),
    path: (path) => ask({ path }),
    posterior: (posterior) => ask({ posterior }),
    close: () => (stop.abort(), sizes.disconnect(), clearTimeout(timer)),
  });
}
