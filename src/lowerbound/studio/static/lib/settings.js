// What a form sets over a recipe: paths in the spec with their values, and the assignments of --set that say the same.

const WORD = /^[A-Za-z][\w-]*$/;
const NOT_WORDS = ["true", "false", "null", "NaN", "Infinity"];
const KEPT_PARTS = /^model\./; // their kind can be set alone: what it needs is filled in

const isNode = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const written = (value) => (typeof value === "string" && WORD.test(value) && !NOT_WORDS.includes(value) ? value : JSON.stringify(value));
const below = (path, node) => path === node || path.startsWith(`${node}.`);
const order = (path) => 2 * path.split(".").length - (path.endsWith(".kind") ? 1 : 0); // a kind resets what stands below it

/** Read assignments: a map of paths to values, in which no value is a node. */
export function parse(set) {
  const found = new Map();
  for (const one of set) {
    const at = one.indexOf("=");
    if (at > 0) lay(found, one.slice(0, at), read(one.slice(at + 1)));
  }
  return found;
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Set a value, a node argument by argument. */
export function lay(settings, path, value) {
  if (isNode(value)) Object.entries(value).forEach(([name, one]) => lay(settings, `${path}.${name}`, one));
  else settings.set(path, value);
}

/** Forget what is set at a path and below it. */
export function clear(settings, path) {
  [...settings.keys()].filter((one) => below(one, path)).forEach((one) => settings.delete(one));
}

/** Whether something is set at a path or below it. */
export const changed = (settings, path) => [...settings.keys()].some((one) => below(one, path));

/** Write the assignments of --set, in an order in which they can be applied. */
export function assignments(settings) {
  const done = [];
  const whole = [];
  for (const path of [...settings.keys()].sort((a, b) => order(a) - order(b))) {
    if (whole.some((node) => below(path, node))) continue;
    const node = path.endsWith(".kind") ? path.slice(0, -".kind".length) : "";
    if (node && !KEPT_PARTS.test(node)) {
      whole.push(node);
      done.push(`${node}=${JSON.stringify(nested(settings, node))}`);
    } else done.push(`${path}=${written(settings.get(path))}`);
  }
  return done;
}

function nested(settings, node) {
  const found = {};
  for (const [path, value] of settings) {
    if (!path.startsWith(`${node}.`)) continue;
    const keys = path.slice(node.length + 1).split(".");
    let at = found;
    for (const key of keys.slice(0, -1)) at = at[key] ??= {};
    at[keys.at(-1)] = value;
  }
  return found;
}

/** What a spec has at a path, but nothing below a part whose kind is set to another one. */
export function inSpec(spec, settings, path) {
  let node = spec;
  let here = "";
  for (const key of path.split(".")) {
    if (!isNode(node)) return undefined;
    const kind = settings.get(`${here}.kind`);
    if (here && kind !== undefined && kind !== node.kind) return undefined;
    node = node[key];
    here = here ? `${here}.${key}` : key;
  }
  return node;
}
