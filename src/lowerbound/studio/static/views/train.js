// A training: a form made of what the parts say of themselves, the command that does the same, and what became of it.

import { href, remember } from "../lib/address.js";
import { get, newest, post } from "../lib/api.js";
import { fill, h, say } from "../lib/dom.js";
import { field } from "../lib/fields.js";
import { busy, command, loading, problem } from "../lib/parts.js";
import { assignments, clear, parse } from "../lib/settings.js";
import { job, started } from "../lib/started.js";
import { tree } from "../lib/tree.js";

const OWN = "own";
const SIZE = "data.size";
const NUMBERS = ["beta", "latents", "epochs", "seed", "seeds", "points"];
const WORDS = ["data", "recipe", "range", "name"];
const FILE = /\.np[yz]$/; // whose arrays have their size
const USUAL = { data: "mnist", seed: 0, seeds: 1, points: 8 };

export default {
  title: "Train",
  show: (root, { run, state }, signal) =>
    run ? job(root, run, signal) : loading(root, "Reading what there is …", () => get("/api/parts", {}, signal), (parts) => page(parts, state, signal)),
};

function page(parts, state, signal) {
  const form = restored(state);
  const settings = parse(listOf(state.set));
  const aside = h("section", { class: "card plan", "aria-label": "What this training is" });
  const found = h("div", {}, busy("Reading the data …"));
  const wrong = h("div", { role: "status" });
  const go = h("button", { type: "button", disabled: true, onclick: start }, "Start training");
  const many = tree(parts, settings, edited);
  const fields = basics(parts, form, (name, value) => {
    if (value === undefined || value === null || value === "") delete form[name];
    else form[name] = value;
    if (name === "recipe") ["model", "objective", "fit"].forEach((part) => clear(settings, part));
    if (name === "data") {
      clear(settings, "data");
      fields.size.write();
    }
    edited();
  }, settings);
  let ready = false;
  const check = newest(planned, shown, failed);

  /** Ask what a form comes to; before any was right, also what the recipe alone does, so that its parts are there. */
  async function planned(form) {
    const plan = await post("/api/plan", { form }, signal).catch(outside);
    if (plan.problem && !many.shows) {
      const base = await post("/api/plan", { form: { data: form.data, recipe: form.recipe } }, signal);
      if (!base.problem) many.show(base.spec);
    }
    return plan;
  }

  /** A number beyond what the studio takes is refused with the request: it names the field before its words. */
  function outside(error) {
    const [, field, words] = /^form\.(\w+): (.*)$/s.exec(error.message) ?? [];
    if (!field) throw error;
    return { problem: { field, words } };
  }

  const asked = () => ({ ...form, ...(settings.size ? { set: assignments(settings) } : {}) });

  /** What is being typed was not checked yet: nothing is started from it. */
  function unsure() {
    ready = false;
    go.disabled = true;
    if (!unread()) return;
    aside.classList.remove("stale");
    found.hidden = true;
    fill(wrong);
  }
  const unread = () => [...entry.querySelectorAll("input")].some((one) => one.validity.badInput);

  function edited() {
    unsure();
    fields.size.hidden = fields.own.hidden || FILE.test(form.data ?? "");
    const kept = Object.fromEntries([...NUMBERS, ...WORDS].map((name) => [name, form[name] === USUAL[name] ? undefined : form[name]]));
    remember({ ...kept, set: settings.size ? JSON.stringify(assignments(settings)) : undefined });
    if (!form.data) {
      found.hidden = true;
      fill(wrong, h("p", { class: "note" }, "Give the folder or the file of the data."));
      return;
    }
    aside.classList.add("stale");
    check(asked());
  }

  function shown(plan, of) {
    if (signal.aborted || unread() || JSON.stringify(of) !== JSON.stringify(asked())) return;
    aside.classList.remove("stale");
    const { words, field: at } = plan.problem ?? {};
    const name = { "train.epochs": "epochs", [SIZE]: "size", data: fields.own.hidden ? "data" : "own" }[at] ?? at;
    const told = many.wrong(at, words);
    for (const [one, element] of Object.entries(fields)) element.wrong(one === name ? words : null);
    found.hidden = Boolean(words); // it tells of the last form that was right
    if (words) {
      if (found.querySelector(".busy")) fill(found);
      fill(wrong, h("p", { class: "problem" }, said(words, fields[name])), told && !fields[name] ? h("p", { class: "note" }, `It is about ${at}, among the parts.`) : null);
      return;
    }
    fill(wrong);
    many.show(plan.spec);
    fields.latents.hint(String(plan.spec.latents));
    fields.epochs.hint(String(plan.spec.train.epochs));
    fill(found, about(plan, plan.likelihood.density === false ? others(plan) : null));
    ready = true;
    go.disabled = false;
  }

  function failed(error) {
    if (signal.aborted) return;
    aside.classList.remove("stale");
    fill(wrong, problem(error));
  }

  /** Of what is no likelihood of these data: what else there is, in its own words. */
  function others({ spec }) {
    const kinds = Object.entries(parts.registries.likelihood).filter(([kind]) => kind !== spec.model.likelihood.kind);
    const recipes = parts.recipes.filter(({ sets }) => sets.model?.likelihood && !sets.objective);
    const one = (name, help, take) => h("li", {}, h("button", { type: "button", class: "quiet", onclick: take }, name), " ", h("span", { class: "note" }, help.replaceAll("`", "")));
    return h("details", { class: "expect" }, h("summary", {}, "Other likelihoods"), h("ul", { class: "plain" },
      recipes.map(({ name, about }) => one(`recipe ${name}`, about, () => { fields.recipe.write(name); fields.recipe.input.dispatchEvent(new Event("change")); fields.recipe.input.focus(); })),
      kinds.map(([kind, { help }]) => one(kind, help, () => many.choose("model.likelihood", "likelihood", kind)))));
  }

  async function start() {
    if (!ready) return;
    go.disabled = true;
    try {
      const one = await post("/api/trainings", { form: asked() });
      say(`Started ${one.name}`);
      if (!signal.aborted) location.hash = href("train", one.id);
    } catch (error) {
      fill(wrong, problem(error));
      go.disabled = false;
    }
  }

  fill(aside, h("h2", {}, "This training"), found, wrong, h("p", { class: "row" }, go));
  const entry = h("div", { class: "form", oninput: ({ target }) => target !== fields.own.input && unsure() }, layout(fields, form.seeds > 1 || form.range !== undefined),
    h("h2", {}, "All parts"), h("p", { class: "note" }, "What the recipe is made of. Open a part to change its kind or its arguments."), many);
  edited();
  return [
    h("h1", {}, "Train"),
    h("p", {}, "Choose the data and a recipe, and start: everything else has a value that works. The training is a program of its own, so this page and the studio may be closed meanwhile."),
    h("div", { class: "train" }, entry, aside),
    started(signal),
  ];
}

const layout = (fields, several) => [
  h("div", { class: "basics" }, fields.data, fields.own, fields.size, fields.recipe),
  h("div", { class: "basics" }, fields.beta, fields.latents, fields.epochs, fields.seed, fields.name),
  h("details", { open: several }, h("summary", {}, h("span", { class: "label" }, "Several runs: seeds, or a sweep over β")),
    h("div", { class: "inner basics" }, fields.seeds, fields.range, fields.points)),
];

function restored(state) {
  const form = { ...USUAL };
  for (const name of WORDS) if (state[name]) form[name] = state[name];
  for (const name of NUMBERS) if (state[name] && Number.isFinite(Number(state[name]))) form[name] = Number(state[name]);
  return form;
}

function listOf(text) {
  try {
    const found = JSON.parse(text ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

function basics(parts, form, change, settings) {
  const known = Object.fromEntries(parts.data.map(({ name, help }) => [name, help]));
  const recipes = Object.fromEntries(parts.recipes.map((one) => [one.name, one]));
  const mine = !(form.data in known);
  const own = field("Folder or file", { schema: { type: "string" }, late: true, placeholder: "/home/me/pictures", help: "A folder of images, or an .npy or .npz file, on the machine that the studio runs on.", value: mine ? form.data : "", change: (value) => change("data", value) });
  own.hidden = !mine;
  const size = field("Image size", {
    ...parts.registries.data.folder.fields.find(({ name }) => name === "size"), value: settings.get(SIZE), placeholder: "64x48",
    change(value) { if (value) settings.set(SIZE, value); else settings.delete(SIZE); change("size"); },
  });
  const helpOf = (name) => (name === OWN ? "" : known[name]);
  const data = field("Data", {
    list: { ...Object.fromEntries(Object.keys(known).map((one) => [one, one])), [OWN]: "images or numbers of my own …" },
    value: mine ? OWN : form.data, help: helpOf(mine ? OWN : form.data),
    change(name) {
      own.hidden = name !== OWN;
      data.help(helpOf(name));
      if (name === OWN) own.input.focus();
      change("data", name === OWN ? own.input.value : name);
    },
  });
  const story = (name) => (name ? `${recipes[name]?.about ?? ""}. ${recipes[name]?.citation ?? ""}` : "The variational autoencoder, or the β-VAE where a β is given.");
  const recipe = field("Recipe", {
    list: { "": "usual", ...Object.fromEntries(Object.keys(recipes).map((one) => [one, one])) }, value: form.recipe ?? "", help: story(form.recipe),
    change(name) { recipe.help(story(name)); change("recipe", name); },
  });
  const number = (name, label, help, schema, placeholder) =>
    field(label, { schema, help, placeholder, value: form[name], change: (value) => change(name, value ?? USUAL[name]) });
  const whole = (minimum) => ({ type: "integer", minimum });
  const words = (name, label, help, placeholder) =>
    field(label, { schema: { type: "string" }, help, placeholder, value: form[name], change: (value) => change(name, value) });
  const several = { seeds: number("seeds", "Seeds", "Train so many times, and report the spread.", whole(1)), range: words("range", "β from … to …", "A sweep: one run for each of several β. Leave β itself empty.", "0.1..20"), points: number("points", "Values of β", "So many in the range.", whole(2)) };
  return {
    data, own, size, recipe,
    beta: number("beta", "β", "The weight of the KL: above 1 fewer latents are used, below 1 more.", { type: "number", minimum: 0 }, "the recipe's"),
    latents: number("latents", "Latents", "How many numbers an image is coded by.", whole(1)),
    epochs: number("epochs", "Epochs", "Passes over the training images.", { type: "number", minimum: 0 }),
    seed: number("seed", "Seed", "Of weights, order and noise.", whole(0)),
    name: words("name", "Name", "Of the run's directory; one is made where there is none.", "made for you"),
    ...several,
  };
}

function about({ recipe, data, parameters, steps, runs, likelihood, command: typed }, others) {
  const counted = Object.entries(data.images).map(([part, n]) => `${n.toLocaleString("en")} ${part}`).join(", ");
  const kind = data.shape.length === 3 ? "images" : "vectors";
  const size = `${steps.toLocaleString("en")} steps${runs > 1 ? `, ${runs} runs` : ""}`;
  return [
    h("dl", {}, row("Data", `${data.name}: ${kind} of ${data.shape.join("×")}; ${counted}`), row("Recipe", `${recipe.name}: ${recipe.about}`),
      row("Published", recipe.citation), row("Size", `${parameters.toLocaleString("en")} parameters, ${size}`), row("Likelihood", `${likelihood.name}${likelihood.note ? `, here ${likelihood.note}` : ""}`)),
    others,
    data.notes.map((note) => h("p", { class: "note" }, note)),
    recipe.expect ? h("details", { class: "expect" }, h("summary", {}, "What to expect"), h("p", { class: "note" }, recipe.expect)) : null,
    command(typed),
  ];
}

/** Say what is wrong with a field by the name that the form gives it. */
function said(words, element) {
  const name = element?.querySelector("label").textContent;
  return !name || words.toLowerCase().startsWith(name.toLowerCase()) ? words : `${name}: ${words.replace(/^[a-z]+: /, "")}`;
}

const row = (name, text) => [h("dt", {}, name), h("dd", {}, text)];
