// Elements from JavaScript. Text is always text: names of runs, labels and files are never read as markup.

/** Make an element: h("a", {href: "#/runs", class: "button", onclick: f}, "text", child, …). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return append(element, children);
}

/** Put other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

function append(element, children) {
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let spoken = 0;

/** Say something to a screen reader without moving anything. */
export function say(text) {
  document.getElementById("said").textContent = text;
  spoken = performance.now();
}

/** Take back what was said of a view that is left, but not what has just been said of the next. */
export function hush() {
  if (performance.now() - spoken > 1000) document.getElementById("said").textContent = "";
}

/** Write a number for people: a real minus (and none before 0.00), and a dash where there is none. */
export function number(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace(/^-(?=[0.,]*$)/, "").replace("-", "−");
}

/** Save a file that the page has made. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
