// The input of one argument, by the JSON schema of its values.

import { fill, h } from "./dom.js";

let count = 0;

/**
 * A labelled input. `change(value)` is called with what was entered, `undefined` where it is emptied; with `late`
 * when the input is left, not at each letter. The element's `write(value)` shows another value, `wrong(words)` what is
 * wrong with it, or nothing.
 */
export function field(label, { schema = {}, type = "", help = "", value, default: usual, required = false, placeholder, list, late, change }) {
  const id = `field-${++count}`;
  const input = inputOf(schema, required, placeholder, list);
  input.element.id = id;
  input.element.setAttribute("aria-describedby", `${id}-help ${id}-wrong`);
  if (required) input.element.required = true;
  const wrong = h("span", { class: "problem", id: `${id}-wrong` });
  const known = [input.choices ? "" : type, usual === undefined || required ? "" : `by default ${JSON.stringify(usual)}`].filter(Boolean).join("; ");
  const note = h("span", { class: "note", id: `${id}-help` }, plain(help), known ? h("span", { class: "type" }, ` ${known}`) : null);
  const root = h("div", { class: "field" }, h("label", { for: id }, label), input.element, note, wrong);
  input.element.addEventListener(late ? "change" : (input.event ?? "input"), () => {
    const [ok, entered] = input.read();
    root.wrong(ok ? null : "This is no number.");
    if (ok) change(entered);
  });
  root.input = input.element;
  root.write = (next) => input.write(next);
  root.help = (text) => fill(note, plain(text));
  root.hint = (text) => (input.element.placeholder = text);
  root.wrong = (words) => {
    wrong.textContent = words ?? "";
    if (words) input.element.setAttribute("aria-invalid", "true");
    else input.element.removeAttribute("aria-invalid");
  };
  root.write(value);
  return root;
}

const plain = (text) => (text ?? "").replaceAll("`", "");
const isNumber = (schema) => schema.type === "number" || schema.type === "integer";

function inputOf(schema, required, placeholder, list) {
  const some = (schema.anyOf ?? [schema]).filter((one) => one.type !== "null");
  const nullable = some.length < (schema.anyOf?.length ?? 1);
  const empty = nullable ? "none" : placeholder;
  if (list) return listed(list);
  if (some.length === 1 && some[0].enum && !nullable) return listed(Object.fromEntries(some[0].enum.map((one) => [one, one])));
  if (some.every((one) => one.type === "boolean")) return flag();
  if (some.every(isNumber)) return numeric(some, nullable, empty);
  return text(some, nullable, empty);
}

function listed(options) {
  const element = h("select", {}, Object.entries(options).map(([value, name]) => h("option", { value }, name)));
  return { element, choices: true, event: "change", read: () => [true, element.value], write: (value) => (element.value = value ?? "") };
}

function flag() {
  const element = h("input", { type: "checkbox" });
  return { element, event: "change", read: () => [true, element.checked], write: (value) => (element.checked = value === true) };
}

function numeric(some, nullable, placeholder) {
  const whole = some.every((one) => one.type === "integer");
  const [only] = some.length === 1 ? some : [{}];
  const element = h("input", { type: "number", step: whole ? 1 : "any", min: only.minimum ?? only.exclusiveMinimum, max: only.maximum ?? only.exclusiveMaximum, placeholder, inputmode: whole ? "numeric" : "decimal" });
  const read = () => (element.validity.badInput ? [false] : [true, element.value === "" ? (nullable ? null : undefined) : Number(element.value)]);
  return { element, read, write: (value) => (element.value = value ?? "") };
}

function text(some, nullable, placeholder) {
  const element = h("input", { type: "text", placeholder, spellcheck: "false", autocomplete: "off", autocapitalize: "off" });
  const array = some.some((one) => one.type === "array");
  const list = (entered) => `[${entered.replace(/^\[|\]$/g, "").replace(/(\d)\s*[x×]\s*(?=\d)/g, "$1, ")}]`; // 64x48, too
  const onlyText = some.every((one) => one.type === "string");
  function read() {
    const entered = element.value.trim();
    if (entered === "") return [true, nullable ? null : undefined];
    if (onlyText) return [true, entered];
    try {
      return [true, JSON.parse(array ? list(entered) : entered)];
    } catch {
      return [true, entered]; // a word, or something that the check says what is wrong with
    }
  }
  const shown = (value) => (value === undefined || value === null ? "" : Array.isArray(value) ? value.join(", ") : String(value));
  return { element, read, write: (value) => (element.value = shown(value)) };
}
