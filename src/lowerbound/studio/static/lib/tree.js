// The parts of a model as a form: each with its kind and its arguments, as the registries describe them.

import { fill, h } from "./dom.js";
import { field } from "./fields.js";
import { changed, clear, inSpec, lay } from "./settings.js";

const NUMBER = "a number";
const NONE = "none";
const ELBO = { kind: "elbo", terms: { distortion: { kind: "distortion" }, kl: { kind: "kl" } } };
const BEGINNINGS = { elbo: ELBO, lagging: { kind: "lagging", objective: ELBO } }; // an objective whose parts can be changed
const PARTS = [
  ["model.posterior", "posterior", "Posterior q(z|x), with the encoder"],
  ["model.prior", "prior", "Prior p(z)"],
  ["model.likelihood", "likelihood", "Likelihood p(x|z), with the decoder"],
  ["objective", "objective", "Objective and its terms"],
  ["train", "train", "Training plan"],
  ["fit", "fit", "Prior fitted afterwards"],
  ["data", "data", "Data: splits and how they are read"],
];
const ABOVE = ["train.epochs", "data.path", "data.size"]; // these are asked for elsewhere

/**
 * The tree over `parts` (GET /api/parts). `settings` is the map of what is set, which it changes; `edited()` is called
 * then. `tree.show(spec)` shows a whole spec, `tree.wrong(path, words)` puts an error beside its field.
 */
export function tree(parts, settings, edited) {
  const root = h("div", { class: "parts" });
  const open = new Set();
  let spec = {};
  let fields = new Map();
  let marks = [];
  let drawn = "";

  const kindsOf = (registry) => parts.registries[registry];
  const kindAt = (path) => settings.get(`${path}.kind`) ?? inSpec(spec, settings, path)?.kind;
  const valueAt = (path, otherwise) => (settings.has(path) ? settings.get(path) : (inSpec(spec, settings, path) ?? otherwise));

  function set(path, value) {
    if (value === undefined) settings.delete(path);
    else settings.set(path, value);
    marks.forEach(([one, element]) => (element.hidden = !changed(settings, one)));
    edited();
  }

  function choose(path, registry, kind) {
    const before = valueAt(path);
    clear(settings, path);
    if (kind === NONE) settings.set(path, null);
    else if (kind === NUMBER) settings.set(path, 1);
    else lay(settings, path, registry === "objective" ? (BEGINNINGS[kind] ?? { kind }) : { kind });
    const ends = registry === "weight" && typeof before === "number" && kindsOf(registry)[kind]?.fields.some((one) => one.name === "end");
    if (ends) settings.set(`${path}.end`, before);
    redraw();
    edited();
  }

  function part(path, registry, label, options = {}) {
    const kind = registry === "train" ? "plan" : kindAt(path);
    const details = h("details", { open: open.has(path), "data-path": path, ontoggle: () => (details.open ? open.add(path) : open.delete(path)) },
      h("summary", {}, h("span", { class: "label" }, label), registry === "train" ? null : h("span", { class: "kind" }, kind ?? NONE),
        marked(path, h("span", { class: "mark" }, "changed"))),
      h("div", { class: "inner" }, kinds(path, registry, kind, options), again(path, options), kind ? inner(path, registry, kind) : null));
    return details;
  }

  function kinds(path, registry, kind, { optional = false }) {
    if (registry === "train" || registry === "data") return null;
    if (registry === "term") return h("p", { class: "note" }, kindsOf(registry)[kind].help); // another kind is another term
    const names = Object.keys(kindsOf(registry)).filter((one) => !(path === "objective.objective" && one === "lagging"));
    const list = Object.fromEntries([...(optional ? [NONE] : []), ...names].map((one) => [one, one]));
    const chosen = field("Kind", { list, value: kind ?? NONE, help: kindsOf(registry)[kind]?.help, change: (next) => choose(path, registry, next) });
    return keep(`${path}.kind`, chosen);
  }

  function again(path, { remove }) {
    const act = (change) => () => { change(); redraw(path); edited(); };
    const back = h("button", { type: "button", class: "quiet", onclick: act(() => clear(settings, path)) }, "As the recipe has it");
    const out = remove && h("button", { type: "button", class: "quiet", onclick: act(() => drop(path)) }, "Remove this term");
    const added = out && settings.has(`${path}.kind`); // the recipe does not have it
    return h("p", { class: "row" }, added ? null : marked(path, back), out);
  }

  /** Take a term away: what was added is forgotten, the recipe's own is set to null. */
  function drop(path) {
    const added = settings.has(`${path}.kind`);
    clear(settings, path);
    if (!added) settings.set(path, null);
  }

  /** Show an element only where something is set at a path or below it. */
  function marked(path, element) {
    element.hidden = !changed(settings, path);
    marks.push([path, element]);
    return element;
  }

  const inner = (path, registry, kind) =>
    kindsOf(registry)[kind].fields.filter((one) => !ABOVE.includes(`${path}.${one.name}`)).map((one) => argument(`${path}.${one.name}`, one));

  function argument(path, known) {
    if (known.named) return terms(path, known);
    if (known.node === "weight") return weight(path, known);
    if (known.node) return part(path, known.node, known.name === "net" ? "Network" : known.name);
    return keep(path, field(known.name, { ...known, value: valueAt(path, known.default), change: (value) => set(path, value) }));
  }

  function weight(path, known) {
    const kind = kindAt(path);
    const list = Object.fromEntries([NUMBER, ...Object.keys(kindsOf("weight")).filter((one) => one !== "constant" || kind === one)].map((one) => [one, one]));
    const choice = field("A number or a schedule", { list, value: kind ?? NUMBER, help: kind ? kindsOf("weight")[kind].help : known.help, change: (next) => choose(path, "weight", next) });
    const number = () => keep(path, field("Number", { schema: { type: "number", minimum: 0 }, type: "number ≥ 0", value: valueAt(path, known.default), change: (value) => set(path, value) }));
    return h("fieldset", {}, h("legend", {}, known.name), keep(`${path}.kind`, choice), kind ? inner(path, "weight", kind) : number());
  }

  function terms(path, known) {
    const there = Object.keys(inSpec(spec, settings, path) ?? {});
    const added = [...settings.keys()].filter((one) => one.startsWith(`${path}.`) && one.endsWith(".kind") && one.split(".").length === path.split(".").length + 2).map((one) => one.split(".").at(-2));
    const names = [...new Set([...there, ...added])].filter((name) => settings.get(`${path}.${name}`) !== null);
    const free = Object.keys(kindsOf("term")).filter((kind) => !names.includes(kind));
    const list = Object.fromEntries([["", "…"], ...free.map((kind) => [kind, kind])]);
    const add = field("Add a term", { list, value: "", help: "A loss beside the others, with a weight.", change: (kind) => { if (kind) { open.add(`${path}.${kind}`); choose(`${path}.${kind}`, "term", kind); } } });
    return [names.map((name) => part(`${path}.${name}`, "term", name, { remove: names.length > 1 })), keep(path, add)];
  }

  function keep(path, element) {
    element.input.dataset.path = path;
    fields.set(path, element);
    return element;
  }

  /** Draw the parts anew; the focus stays on the same field. */
  function redraw(at = document.activeElement?.dataset?.path) {
    fields = new Map();
    marks = [];
    fill(root, PARTS.map(([path, registry, label]) => part(path, registry, label, { optional: registry === "fit" })));
    drawn = shape();
    (fields.get(at)?.input ?? [...root.querySelectorAll("details")].find((one) => one.dataset.path === at)?.firstChild)?.focus();
  }

  const shape = () => JSON.stringify(kindsIn(spec));

  root.show = (next) => {
    spec = next;
    root.shows = true;
    if (shape() !== drawn) redraw();
    else for (const [path, one] of fields) if (!path.endsWith(".kind") && one.input !== document.activeElement && !settings.has(path)) refresh(path, one);
  };
  const refresh = (path, one) => {
    const value = inSpec(spec, settings, path);
    if (value !== undefined && (typeof value !== "object" || Array.isArray(value))) one.write(value);
  };
  root.wrong = (path, words) => {
    for (const one of fields.values()) one.wrong(null);
    const at = words && path && [...fields.keys()].filter((one) => path === one || `${path}.kind` === one || path.startsWith(`${one}.`)).at(-1);
    if (at) fields.get(at).wrong(words);
    return Boolean(at);
  };
  /** Choose the kind of a part from elsewhere, and go there. */
  root.choose = (path, registry, kind) => {
    open.add(path);
    choose(path, registry, kind);
    fields.get(`${path}.kind`).input.focus();
  };
  return root;
}

/** The kinds and the names of a spec, without its values: what the look of the form depends on. */
function kindsIn(node) {
  if (node === null || typeof node !== "object" || Array.isArray(node)) return null;
  return Object.fromEntries(Object.entries(node).map(([name, one]) => [name, name === "kind" ? one : kindsIn(one)]));
}
