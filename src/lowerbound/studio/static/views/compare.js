// Several runs beside one another: their figures, what differs, what may not be compared, and their curves.

import { href, remember } from "../lib/address.js";
import { get } from "../lib/api.js";
import * as charts from "../lib/charts.js";
import { fill, h } from "../lib/dom.js";
import { busy, choice, command, loading, problem } from "../lib/parts.js";

const POINTS = 400; // rows of each history that a chart shows

export default {
  title: "Compare",
  show: (root, { state }, signal) => (state.runs
    ? loading(root, "Comparing …", () => get("/api/compare", { runs: state.runs }, signal), (found) => page(found, state, signal))
    : fill(root, h("h1", {}, "Comparison"), h("p", {}, "Choose two runs or more ", h("a", { href: href("runs") }, "in the table of the runs"), "."))),
};

function page(found, state, signal) {
  const courses = h("div");
  const trade = h("div", { class: "plot" });
  queueMicrotask(() => {
    curves(courses, found, state, signal);
    if (found.points.length) tradeOff(trade, found);
  });
  return [
    h("p", {}, h("a", { href: href("runs", "", { chosen: state.runs }) }, "← All runs")),
    h("h1", {}, "Comparison"),
    h("p", { class: "note" }, [...found.common, `${found.rows.length} ${found.rows.length === 1 ? "row" : "rows"}`].join(" · ")),
    found.warnings.length ? h("section", { class: "card warnings", "aria-label": "What may not be compared" },
      h("h2", {}, "What does not compare, and what is missing"), h("ul", {}, found.warnings.map((text) => h("li", {}, text)))) : null,
    h("h2", {}, "Measured"), h("p", {}, found.meaning), measured(found),
    found.points.length ? [h("h2", {}, "Rate and distortion"), h("p", {}, "What the latents cost, and what is lost on the way through them: nearer to the lower left is better."), trade] : null,
    h("h2", {}, "The trainings"), courses,
    Object.keys(found.differences).length ? [h("h2", {}, "How their specs differ"), differences(found)] : null,
    command(found.command),
  ];
}

function measured({ heads, lines, rows }) {
  return h("div", { class: "wide" }, h("table", {}, h("caption", { class: "unseen" }, "What was measured of each run"),
    h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col", class: i > 0 ? "figure" : undefined }, text)))),
    h("tbody", {}, lines.map(([, ...rest], i) => h("tr", {}, h("th", { scope: "row", class: "name" }, named(rows[i])), rest.map((text) => h("td", { class: "figure" }, text)))))));
}

/** Name a row with links to its runs. */
function named({ name, runs }) {
  if (runs.length === 1) return h("a", { href: href("explore", runs[0].id) }, name);
  return [name, runs.map(({ id, seed }) => [" · ", h("a", { href: href("explore", id) }, `seed ${seed}`)])];
}

function differences({ differences, rows }) {
  return h("div", { class: "wide" }, h("table", { class: "settings" }, h("caption", { class: "unseen" }, "How the specs differ"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), rows.map(({ name }) => h("th", { scope: "col", class: "word" }, name)))),
    h("tbody", {}, Object.entries(differences).map(([key, values]) =>
      h("tr", {}, h("th", { scope: "row" }, h("code", {}, steps(key))), values.map((text) => h("td", { class: "word" }, text)))))));
}

/** Write a path in a spec so that a narrow column parts it at its dots. */
const steps = (path) => path.split(".").map((name, i) => (i ? [".", h("wbr"), name] : name));

const tradeOff = (element, { points }) => charts.points(element, {
  title: "Rate and distortion", x: "rate in nats", y: "distortion in nats",
  series: points.map((point) => ({ name: point.name, x: [point.rate[0]], y: [point.distortion[0]], text: [point.name] })),
});

/** Draw the histories over one another: one colour for each row, seeds of a row in the same. */
async function curves(element, { rows }, state, signal) {
  fill(element, busy("Reading the histories …"));
  try {
    const every = await Promise.all(rows.map(({ runs }) => Promise.all(runs.map(({ id }) => get(`/api/runs/${id}/history`, { points: POINTS }, signal)))));
    const names = ["elbo", "distortion", "rate", "beta", "loss"].filter((key) => every.flat().some((one) => one.rows.some((row) => number(row[key]) !== null)));
    if (!names.length) return void fill(element, h("p", {}, "No step was logged."));
    const plot = h("div", { class: "plot" });
    const draw = (key, split) => charts.lines(plot, {
      title: `${key} of the ${split} split`, x: "step", y: key === "beta" ? "β" : `${key} in nats`, series: rows.flatMap(({ name, runs }, i) => runs.map(({ seed }, j) => {
        const some = every[i][j].rows.filter((row) => row.split === split);
        return { name: runs.length > 1 ? `${name}, seed ${seed}` : name, colour: i, x: some.map((row) => row.step), y: some.map((row) => number(row[key])) };
      })),
    });
    const now = { figure: names.includes(state.figure) ? state.figure : names[0], split: state.split === "validation" ? "validation" : "train" };
    const change = (some) => {
      Object.assign(now, some);
      remember(now);
      draw(now.figure, now.split);
    };
    fill(element, h("div", { class: "row" },
      choice("Figure", Object.fromEntries(names.map((key) => [key, key === "beta" ? "β" : key])), now.figure, (figure) => change({ figure })),
      choice("Split", { train: "train", validation: "validation" }, now.split, (split) => change({ split }))), plot);
    draw(now.figure, now.split);
  } catch (error) {
    if (error.name !== "AbortError") fill(element, problem(error));
  }
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
