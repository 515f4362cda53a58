// An animation of the images of a sheet: play and pause, pace, what happens at the end, and a slider through it.

import { h } from "./dom.js";
import { choice, loaded } from "./parts.js";
import { put } from "./tiles.js";

const PACE = 8;
const ENDS = { loops: "again and again", back: "there and back", once: "once" };
const quiet = matchMedia("(prefers-reduced-motion: reduce)");

const possible = (pace) => Math.min(50, Math.max(1, Math.round(pace) || PACE));

/**
 * Make a player. `draw(sheet, play)` shows another film; `stop()` pauses it; `settings()` gives {pace, end}; `changed(settings)` is told of
 * changes, `seen(i)` of the frame that is shown. It stops when the signal aborts, and never begins by itself where
 * motion is to be reduced.
 */
export function player(label, { pace = PACE, end = "loops", changed = () => {}, seen = () => {} }, signal) {
  [pace, end] = [possible(pace), Object.hasOwn(ENDS, end) ? end : "loops"];
  const canvas = h("canvas", { class: "pixels film", role: "img", "aria-label": label });
  const button = h("button", { type: "button", class: "plain", onclick: () => (timer ? stop() : play()) }, "Play");
  const place = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Place in the animation", oninput: scrub });
  const speed = h("input", { type: "number", min: 1, max: 50, step: 1, value: pace, onchange: set });
  let [newest, film, picture, at, way, timer] = [null, null, null, 0, 1, null];

  function show(i) {
    at = i;
    place.value = i;
    put(canvas, film, picture, i);
    seen(i);
  }
  function scrub() {
    stop();
    show(place.valueAsNumber);
  }
  function play() {
    if (!film || timer) return;
    if (end === "once" && at === film.count - 1) show(0);
    timer = setInterval(next, 1000 / pace);
    button.textContent = "Pause";
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }
  function next() {
    const last = film.count - 1;
    if (end === "once" && at === last) return stop();
    if (end === "back") way = at === last ? -1 : at === 0 ? 1 : way;
    else way = 1;
    show(at + way > last ? 0 : at + way);
  }
  function set() {
    pace = possible(speed.valueAsNumber);
    speed.value = pace;
    if (timer) {
      stop();
      play();
    }
    changed({ pace, end });
  }
  signal.addEventListener("abort", stop);
  const element = h("div", { class: "player" }, canvas, h("div", { class: "row" }, button, place,
    h("label", { class: "choice" }, h("span", {}, "images a second"), speed),
    choice("plays", ENDS, end, (value) => {
      end = value;
      set();
    })));
  element.draw = async (sheet, begin = false) => {
    newest = sheet;
    const next = await loaded(sheet.sheet);
    if (newest !== sheet) return;
    [film, picture] = [sheet, next];
    place.max = sheet.count - 1;
    canvas.style.width = `${Math.round(224 * sheet.width / Math.max(sheet.width, sheet.height))}px`;
    show(Math.min(at, sheet.count - 1));
    if (begin && !quiet.matches) play();
  };
  element.stop = stop;
  element.settings = () => ({ pace, end });
  return element;
}
