// A canvas to draw on with mouse, pen, finger or arrow keys, as large in pixels as the model's images times a whole number.
//   const it = easel({width: 28, height: 28, channels: 1, dark: true, mask: true, changed});
//   it.element, it.blob(), it.address(), it.load(address), it.clear(), it.undo(),
//   it.mask() → {name, digits, count} or null, it.cover(digits, name), it.tool

import { h, say } from "./dom.js";
import { loaded, slider } from "./parts.js";

const SIDE = 280; // pixels that the longer side has about
const UNDOS = 20;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
export const HALVES = { left: "left half", right: "right half", top: "upper half", bottom: "lower half", centre: "centre" };

/**
 * Make an easel; `changed({done, hidden})` is called while one draws, with done: true at the end of each stroke, and
 * hidden: true where what is hidden has changed and the ink has not; `chosen()` where one takes another tool.
 */
export function easel({ width, height, channels = 1, dark = true, mask = false, changed, chosen }) {
  const scale = Math.max(1, Math.floor(SIDE / Math.max(width, height)));
  const canvas = h("canvas", { width: width * scale, height: height * scale, tabindex: 0, role: "application", class: "easel-ink",
    "aria-label": "Easel. Draw with the pointer; or: arrow keys move the pen, space puts it down and lifts it, U takes the last stroke back." });
  const over = h("canvas", { width: width * scale, height: height * scale, class: "easel-over", "aria-hidden": "true" });
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  const [paper, pen] = dark ? ["#000", "#fff"] : ["#fff", "#000"];
  let [tool, size, colour, missing, named] = ["pen", Math.max(width / 12, 1), channels === 3 ? "#e0483e" : pen, new Uint8Array(width * height), null];
  let [last, empty] = [null, true];
  const undos = [];
  const hatched = stripes();
  const cursor = { x: width / 2, y: height / 2, down: false };

  const wipe = () => {
    ink.fillStyle = paper;
    ink.fillRect(0, 0, canvas.width, canvas.height);
    missing.fill(0);
    named = null;
    empty = true;
  };

  function remember() {
    undos.push({ pixels: ink.getImageData(0, 0, canvas.width, canvas.height), missing: missing.slice(), named, empty });
    if (undos.length > UNDOS) undos.shift();
  }

  /** Draw from one place to another, in the model's pixels. */
  function stroke(from, to) {
    if (tool === "hide") return hide(from, to);
    Object.assign(ink, { lineCap: "round", lineJoin: "round", lineWidth: size * scale, strokeStyle: tool === "eraser" ? paper : colour });
    ink.beginPath();
    ink.moveTo(from.x * scale, from.y * scale);
    ink.lineTo(to.x * scale + 0.01, to.y * scale); // a point is a line, too
    ink.stroke();
    empty = false;
  }

  function hide(from, to) {
    const steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) * 2) + 1;
    for (let k = 0; k <= steps; k++) {
      const [x, y] = [from.x + ((to.x - from.x) * k) / steps, from.y + ((to.y - from.y) * k) / steps];
      for (let i = Math.max(0, Math.floor(y - size)); i < Math.min(height, y + size); i++)
        for (let j = Math.max(0, Math.floor(x - size)); j < Math.min(width, x + size); j++)
          if (Math.hypot(j + 0.5 - x, i + 0.5 - y) <= Math.max(size / 2, 0.71)) missing[i * width + j] = 1;
    }
    named = null;
    hatch();
  }

  /** Show what is hidden, and where the pen of the keyboard is. */
  function hatch() {
    const to = over.getContext("2d");
    to.clearRect(0, 0, over.width, over.height);
    for (let p = 0; p < missing.length; p++) {
      if (!missing[p]) continue;
      to.fillStyle = hatched;
      to.fillRect((p % width) * scale, Math.floor(p / width) * scale, scale, scale);
    }
    if (document.activeElement !== canvas || !canvas.matches(":focus-visible")) return;
    Object.assign(to, { lineWidth: 2, strokeStyle: cursor.down ? "#ff9f4a" : "#7f96ff" });
    to.beginPath();
    to.arc(cursor.x * scale, cursor.y * scale, Math.max(4, (size * scale) / 2), 0, 2 * Math.PI);
    to.stroke();
  }

  const told = (done) => changed?.({ done, hidden: tool === "hide" });

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = place(event);
    stroke(last, last);
    told(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(one);
      stroke(last, next);
      last = next;
    }
    told(false);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
    if (last) told(true);
    last = null;
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "z") { event.preventDefault(); undo(); }
      return;
    }
    const way = KEYS[event.key];
    if (way) {
      const before = { ...cursor };
      const far = event.shiftKey ? 3 : 1;
      cursor.x = Math.min(width - 0.5, Math.max(0.5, cursor.x + (way[0] * far * width) / 28));
      cursor.y = Math.min(height - 0.5, Math.max(0.5, cursor.y + (way[1] * far * height) / 28));
      if (cursor.down) { stroke(before, cursor); told(false); }
    } else if (event.key === " ") {
      cursor.down = !cursor.down;
      say(cursor.down ? "Pen down" : "Pen lifted");
      if (cursor.down) { remember(); stroke(cursor, cursor); }
      told(!cursor.down);
    } else if (event.key === "u") undo();
    else return;
    event.preventDefault();
    hatch();
  });
  canvas.addEventListener("focus", hatch);
  canvas.addEventListener("blur", hatch);

  function undo() {
    const before = undos.pop();
    if (!before) return say("Nothing to take back");
    const was = canvas.toDataURL();
    ink.putImageData(before.pixels, 0, 0);
    missing.set(before.missing);
    [named, empty] = [before.named, before.empty];
    hatch();
    changed?.({ done: true, hidden: was === canvas.toDataURL(), undone: true });
  }

  function part(name) {
    remember();
    const [top, bottom] = { top: [0, height >> 1], bottom: [height >> 1, height], centre: [height >> 2, height - (height >> 2)] }[name] ?? [0, height];
    const [left, right] = { left: [0, width >> 1], right: [width >> 1, width], centre: [width >> 2, width - (width >> 2)] }[name] ?? [0, width];
    missing.fill(0);
    for (let i = top; i < bottom; i++) missing.fill(1, i * width + left, i * width + right);
    named = name;
    hatch();
    changed?.({ done: true, hidden: true });
  }

  const tools = { pen: "Pen", eraser: "Eraser", ...(mask ? { hide: "Hide a part" } : {}) };
  const buttons = Object.entries(tools).map(([name, words]) =>
    h("button", { type: "button", class: "quiet", "aria-pressed": String(name === tool), onclick: () => { take(name); chosen?.(); } }, words));
  function take(name) {
    tool = name;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(Object.keys(tools)[i] === name)));
  }
  const element = h("div", { class: "easel" },
    h("div", { class: "easel-stack" }, canvas, over),
    h("div", { class: "row", role: "group", "aria-label": "Tools" }, buttons,
      channels === 3 ? h("label", { class: "choice" }, "Colour", h("input", { type: "color", value: colour, oninput: (event) => { colour = event.target.value; take("pen"); } })) : null,
      h("button", { type: "button", class: "quiet", onclick: undo }, "Undo"),
      h("button", { type: "button", class: "quiet", onclick: () => { remember(); wipe(); hatch(); changed?.({ done: true, hidden: false }); } }, "Clear")),
    slider("Brush", { min: 1, max: Math.max(3, Math.round(width / 4)), step: 0.5, value: size, change: (value) => (size = value) }));
  wipe();

  return {
    element, canvas, undo, part,
    get tool() { return tool; },
    set tool(name) { if (name in tools) take(name); },
    get empty() { return empty; },
    get drawing() { return last !== null; },
    blob: () => new Promise((done) => canvas.toBlob(done, "image/png")),
    address: () => canvas.toDataURL("image/png"),
    /** Show a picture, a data address, in place of what is there. */
    async load(address, { keep = true } = {}) {
      const picture = await loaded(address);
      if (keep) remember();
      ink.imageSmoothingEnabled = false;
      ink.drawImage(picture, 0, 0, canvas.width, canvas.height);
      empty = false;
    },
    /** Show all of it again. */
    unhide() {
      missing.fill(0);
      named = null;
      hatch();
    },
    /** Hide what was hidden once, see `mask`. */
    cover({ digits, name }) {
      missing.set([...digits].slice(0, missing.length).map(Number));
      named = name;
      hatch();
    },
    /** Give what is hidden: by its name where it has one, else a digit for each pixel. */
    mask() {
      const count = missing.reduce((sum, one) => sum + one, 0);
      return count ? { name: named, digits: missing.join(""), count } : null;
    },
  };
}

/** Slanting stripes, for what is hidden. */
function stripes() {
  const tile = h("canvas", { width: 8, height: 8 });
  const to = tile.getContext("2d");
  to.fillStyle = "#7a8296";
  to.fillRect(0, 0, 8, 8);
  Object.assign(to, { strokeStyle: "#c9cfdb", lineWidth: 2.5 });
  to.beginPath();
  for (const start of [-8, 0, 8]) {
    to.moveTo(start, 8);
    to.lineTo(start + 8, 0);
  }
  to.stroke();
  return to.createPattern(tile, "repeat");
}
