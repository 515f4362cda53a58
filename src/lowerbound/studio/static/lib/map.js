// The latent map: the codes of a split in a plane, coloured by label; what is below the pointer is decoded.

import { newest, post, ready } from "./api.js";
import { fill, h, number, save, say } from "./dom.js";
import { classColours, colour, packed } from "./map/colours.js";
import { UNDER, buttons, controls, legend, replaced } from "./map/controls.js";
import { hands } from "./map/hands.js";
import { density, points } from "./map/load.js";
import { makeMarks } from "./map/marks.js";
import { paintOver } from "./map/overlay.js";
import { densityImage, paintUnder, paintWords } from "./map/paint.js";
import { mapPicture } from "./map/picture.js";
import { pointPainter } from "./map/points.js";
import { makeView, readView } from "./map/view.js";
import { busy, problem, working } from "./parts.js";

const HELP = "Arrow keys move a cross, Enter picks what is below it, plus and minus zoom, Shift with an arrow moves the map, 0 shows all of it.";
const REST = 250; // milliseconds after which a map that was moved stands in the URL
const EDGE = 9; // pixels that the keyboard's cross keeps from the border
const none = () => {};

/**
 * Make the map of a run's codes (of its id, or of {id}), an element with its own controls. `moved({z, sheet, numbers, label, row})` is told what is
 * below the pointer, `left()` that it is there no more, `picked({z, row, label})` what was clicked, `changed(state)` what
 * belongs into the URL; `state` brings that back. It has here(z), anchors([{z, name}]), path([z]),
 * posterior({mu, sigma, name} | null) and close().
 */
export function latentMap(of, { state = {}, moved = none, left = none, picked = none, changed = none, label = "Map of the latents" } = {}) {
  const run = of.id ?? of;
  const stop = new AbortController();
  const layers = [0, 1, 2].map(() => h("canvas", { "aria-hidden": "true" }));
  const stage = h("div", { class: "map-stage", tabindex: 0, role: "application", "aria-label": `${label}. ${HELP}` }, layers);
  const [bar, key, below, status] = [h("div", { class: "row map-bar" }), h("div", { class: "row map-legend", role: "group", "aria-label": "Classes" }), h("p", { class: "note map-below" }), h("div", { class: "note" })];
  const element = h("div", { class: "map" }, bar, stage, below, key, status);

  const view = makeView();
  const paint = pointPainter(layers[1]);
  const usual = () => ({ plane: undefined, split: undefined, colour: undefined, under: "prior" });
  const chosen = { ...usual(), plane: state.plane, split: state.split, colour: state.colour, ...(Object.hasOwn(UNDER, state.under ?? "") ? { under: state.under } : {}) };
  const hidden = new Set((state.hide ?? "").split(".").filter(Boolean).map(Number).filter(Number.isFinite));
  const over = { here: null, anchors: [], path: [], posterior: null, cursor: null, near: null };
  let [meta, dots, colours, ground, fade, axes, kept, ratio] = [null, null, new Map(), null, null, [], readView(state.zoom), 1];
  const marks = makeMarks(run, () => meta, (found) => (Object.assign(over, found), draw("over")), failed, stop.signal);

  /** Whether the map that is here is the one that was chosen. */
  const laid = () => meta && ["plane", "split", "colour"].every((name) => (chosen[name] ?? meta[name]) === meta[name]);
  const told = () => changed({ ...chosen, under: chosen.under === "prior" ? undefined : chosen.under, zoom: laid() ? view.kept() : undefined, hide: [...hidden].join(".") || undefined });

  // drawing: once a frame, and only what has changed
  let due = new Set();
  function draw(...parts) {
    if (due.size === 0) requestAnimationFrame(frame);
    parts.forEach((part) => due.add(part));
  }
  const all = (...more) => draw("under", "points", "over", ...more);
  function frame() {
    const now = due;
    due = new Set();
    if (!meta || stop.signal.aborted) return;
    if (now.has("under")) axes = paintUnder(layers[0], ratio, view, { density: fade, ...meta });
    if (now.has("points") && !paint(ratio, view, dots, now.has("whole"))) draw("points");
    paintOver(layers[2], ratio, view, over);
    paintWords(layers[2], axes);
  }
  function whole() {
    all("whole");
    frame();
  }
  function resize() {
    const { width, height } = layers[0].getBoundingClientRect();
    if (!width) return;
    ratio = window.devicePixelRatio || 1;
    view.resize(width, height);
    whole(); // at once: a frame with other sizes would be stretched
  }
  function tint() {
    colours = classColours(meta.classes);
    const packs = new Map([...colours].map(([value, css]) => [value, hidden.has(value) ? 0 : packed(css)]));
    const tints = new Uint32Array(meta.count);
    for (let i = 0; i < tints.length; i++) tints[i] = packs.get(dots.which[i]);
    dots = { ...dots, tints };
  }
  function recolour() {
    if (!meta) return;
    tint();
    legend(key, meta.classes, colours, hidden, () => (tint(), draw("points"), told()));
    fade = ground && densityImage(ground, colour(ground.of === "holes" ? "second" : "accent"));
    all();
  }

  // loading: the newest work only
  let loading = new AbortController();
  async function newly(work) {
    loading.abort();
    const { signal } = (loading = new AbortController());
    fill(status, busy("The map is being laid out …"));
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) broken(error);
    }
  }
  let progress = null;
  function waiting(how) {
    if (!progress?.isConnected || progress.words !== how.words) fill(status, (progress = Object.assign(working(`${how.words} …`), { words: how.words })));
    progress.told(how);
  }
  const tell = (...words) => fill(status, h("p", { class: "note", role: "status" }, words));
  async function load(signal) {
    const found = await ready(`/api/runs/${run}/map`, { plane: chosen.plane, split: chosen.split, colour: chosen.colour }, signal, waiting);
    const some = await points(run, { plane: found.plane, split: found.split, colour: found.colour }, found.count, signal);
    const other = meta?.plane !== found.plane || meta.split !== found.split;
    [meta, dots] = [found, some];
    if (chosen.plane) chosen.plane = found.plane; // of one latent there is one plane, whatever was asked for
    bars();
    if (other) {
      view.show(meta.bounds, kept);
      ground = kept = null;
      away();
      marks.clear();
      told();
    }
    recolour();
    resize();
    marks.place();
    await under(signal);
  }
  async function under(signal) {
    const of = meta.flat ? chosen.under : "none";
    ground = of === "none" ? null : { ...(await density(run, { plane: meta.plane, split: meta.split, of }, signal, waiting)), of };
    recolour();
    if (!ground) return tell(meta.flat ? "" : "UMAP keeps neighbours together; a place stands for the nearest code, and distances say nothing.");
    const mass = ground.mass === null ? "" : ` ${number(100 * ground.mass, 0)}% of the prior's mass lies where codes are rarer than it.`;
    tell(`Under the points: ${ground.words}.${mass}`);
  }
  function broken(error) {
    if (!meta) return fill(status, problem(error), h("button", { type: "button", class: "quiet", onclick: () => change(usual()) }, "Show the usual map"));
    Object.assign(chosen, { plane: meta.plane, split: meta.split, colour: meta.colour }); // the map that is still here
    bars();
    told();
    fill(status, problem(error));
  }
  function change(what) {
    Object.assign(chosen, what);
    if ("colour" in what) hidden.clear();
    told();
    newly(laid() ? under : load);
  }
  const bars = () => replaced(bar, controls(meta, chosen, change), buttons({ zoom: does.zoom, reset: does.reset, take }));
  async function take() {
    whole();
    const shown = meta.classes.filter(({ value }) => !hidden.has(value)).map(({ value, name }) => [name, colours.get(value)]);
    save(await mapPicture(layers, ratio, shown, `${meta.count.toLocaleString("en")} ${meta.split} codes; ${meta.note}`), `map-${meta.plane}.png`);
  }

  // what is below a place: of moves the newest, of picks each
  let visit = 0; // of the pointer, or of the keyboard's cross
  const ask = ([x, y]) => post(`/api/runs/${run}/map/below`, {
    plane: meta.plane, split: meta.split, colour: meta.colour, x, y, base: meta.plane.startsWith("z") ? (marks.asked.here ?? undefined) : undefined,
  }, stop.signal);
  const look = newest(({ xy }) => ask(xy), (found, how) => how.during === visit && shown(found, how), failed);
  async function pick(xy) {
    try {
      const found = await ask(xy);
      say(`Picked. ${shown(found, { xy })}`);
      picked({ z: found.z, row: found.row, label: found.label });
    } catch (error) {
      if (error.name !== "AbortError") failed(error);
    }
  }
  function shown(found, { xy, aloud = false }) {
    over.near = found.place;
    const named = meta.line ? [meta.axes[0]] : meta.axes.map((name) => name.replace(/ \(.*/, ""));
    const text = `${named.map((name, i) => `${name} ${number(xy[i])}`).join(" · ")}. Nearest: ${found.label === null ? "" : `${found.label}, `}row ${found.row}.`;
    fill(below, text);
    if (aloud) say(text);
    draw("over");
    moved({ z: found.z, sheet: found.sheet ? found : null, numbers: found.numbers ?? null, label: found.label, row: found.row });
    return text;
  }
  function failed(error) {
    fill(below, h("span", { class: "problem", role: "alert" }, error.message));
  }
  function away() {
    over.near = over.cursor = null;
    visit++;
    fill(below);
    draw("over");
    left();
  }
  const does = {
    move: (x, y) => meta && (over.cursor = null, look({ xy: view.plane(x, y), during: visit })),
    pick: (x, y) => meta && pick(view.plane(x, y)),
    pan: (dx, dy) => (view.pan(dx, dy), shift()),
    zoom: (factor, x, y) => (view.zoomAt(factor, x, y), shift()),
    reset: () => (view.reset(), shift()),
    left: away,
    enter: () => meta && over.cursor && pick(over.cursor),
    cursor(dx, dy) {
      if (!meta) return;
      const from = over.cursor ? view.place(...over.cursor) : [view.width / 2, view.height / 2];
      const [x, y] = over.cursor ? [from[0] + dx, from[1] + dy] : from;
      const [inX, inY] = [Math.min(view.width - EDGE, Math.max(EDGE, x)), Math.min(view.height - EDGE, Math.max(EDGE, y))];
      if (inX !== x || inY !== y) does.pan(inX - x, inY - y); // the map moves under a cross at its edge
      over.cursor = view.plane(inX, inY);
      draw("over");
      look({ xy: over.cursor, aloud: true, during: visit });
    },
  };
  let timer = 0;
  function shift() {
    all();
    clearTimeout(timer);
    timer = setTimeout(told, REST);
  }

  hands(stage, does, stop.signal);
  const sizes = new ResizeObserver(resize);
  sizes.observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour, { signal: stop.signal });
  newly(load);

  return Object.assign(element, {
    here: (z) => marks.ask({ here: z }),
    anchors: (anchors) => marks.ask({ anchors }),
    path: (path) => marks.ask({ path }),
    posterior: (posterior) => marks.ask({ posterior }),
    close: () => (stop.abort(), loading.abort(), sizes.disconnect(), clearTimeout(timer)),
  });
}
