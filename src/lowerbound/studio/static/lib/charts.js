// Charts in the page's colours, by plotly: only kinds that need neither WebGL nor eval, so that the page's policy holds.
//   charts.lines(element, {title, x: "step", y: "nats", series: [{name, x, y, axis, dashed}], settled: true, zoomed})
//   charts.heat(element, {title, x: {title, values}, y: {title, values}, z, unit})
//   charts.points(element, {title, x: "rate", y: "distortion", series: [{name, x, y, text, joined}], click})
// Called again on the same element it changes what is there; where the user has zoomed in stays.

import { fill, h } from "./dom.js";
import { problem } from "./parts.js";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
// told apart by eyes that see two colours, too (after Okabe and Ito); the first two are the page's own
const MORE = { light: ["#1c7a3e", "#8e3b94", "#8a6d00", "#0e7490", "#b42318", "#475569"], dark: ["#6fce8f", "#d8a1e0", "#e3c65b", "#67c7dd", "#ff8f85", "#a8b3c5"] };
const DASHES = ["solid", "dash", "dot", "dashdot"];

let loaded = null;

/** Load plotly once, when the first chart is drawn. */
function plotly() {
  loaded ??= new Promise((done, failed) => {
    const script = h("script", { src: "/plotly.js" });
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      loaded = null;
      failed(new Error("The charts could not be loaded from the studio."));
    };
    document.head.append(script);
  });
  return loaded;
}

/** The page's colours, as they are now. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const page = Object.fromEntries(["card", "ink", "muted", "rule", "faint", "accent", "second"].map((name) => [name, of(name)]));
  return { ...page, lines: [page.accent, page.second, ...MORE[dark.matches ? "dark" : "light"]] };
}

/** Load plotly when there is nothing else to do, so that it is there when the first chart comes. */
export const ahead = () => (window.requestIdleCallback ?? setTimeout)(() => plotly().catch(() => {}));

// A training pays for what its page draws: only what is near the screen is drawn, one chart after the other, so that the
// first is seen before the last is made; and of several drawings that wait only the newest.
const screen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  target.near = isIntersecting;
  soon(target);
}), { rootMargin: "300px" });
let queue = Promise.resolve();
const there = new Set(); // charts that were drawn

/** Let go of the charts of views that were left: plotly listens on the window for each. */
function sweep(library) {
  for (const element of there) {
    if (element.isConnected) continue;
    there.delete(element);
    screen.unobserve(element);
    library.purge(element);
  }
}

function soon(element) {
  if (element.waits || !element.near || !element.make) return;
  element.waits = true;
  queue = queue.then(() => redraw(element)).catch((error) => fill(element, problem(error))).then(() => new Promise((done) => setTimeout(done)));
}

async function redraw(element) {
  const library = await plotly().catch((error) => {
    if (!element.data) fill(element, problem(error));
  });
  element.waits = false;
  if (library) sweep(library);
  if (!library || !element.isConnected || !element.make) return; // left meanwhile
  const page = colours();
  const { data, layout } = element.make(page);
  element.make = null;
  const narrow = element.clientWidth < 480;
  element.querySelector(":scope > .problem")?.remove();
  await library.react(element, data, { ...base(page, narrow), ...layout }, element.data ? undefined : options()); // told again, a chart is made from nothing, at twice the cost
  there.add(element);
  if (!element.hears) hear(element);
}

function hear(element) {
  element.hears = true;
  element.on("plotly_click", ({ points: [point] }) => element.clicked?.(point));
  element.on("plotly_relayout", (to) => {
    if (to["xaxis.autorange"]) element.zoomed?.(null);
    else if (to["xaxis.range[0]"] !== undefined) element.zoomed?.([to["xaxis.range[0]"], to["xaxis.range[1]"]]);
  });
}

dark.addEventListener("change", () => document.querySelectorAll(".chart").forEach((element) => draw(element, element.getAttribute("aria-label"), element.made, element)));

function draw(element, title, make, { clicked, zoomed } = {}) {
  Object.assign(element, { make, made: make, clicked, zoomed });
  element.classList.add("chart");
  element.setAttribute("role", "figure");
  element.setAttribute("aria-label", title);
  screen.observe(element);
  soon(element);
}

const options = () => ({
  displaylogo: false,
  showTips: false, // the note says how to come back, in colours that can be read
  responsive: true,
  displayModeBar: true,
  modeBarButtons: [[{
    name: "Save PNG", title: "Save as PNG", icon: window.Plotly.Icons.camera,
    click: (element) => window.Plotly.downloadImage(element, { format: "png", scale: 2, filename: element.getAttribute("aria-label").replaceAll(/[^\p{L}\p{N}]+/gu, "-"), width: element.clientWidth, height: element.clientHeight }),
  }]],
});

const base = (page, narrow) => ({
  paper_bgcolor: page.card, plot_bgcolor: page.card, uirevision: "kept", showlegend: true, hovermode: "x unified",
  font: { family: "system-ui, sans-serif", size: 12, color: page.ink },
  margin: { l: narrow ? 48 : 58, r: narrow ? 12 : 20, t: 34, b: 44 },
  legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: page.ink } },
  hoverlabel: { bgcolor: page.card, bordercolor: page.faint, font: { color: page.ink } },
  modebar: { color: page.muted, activecolor: page.ink, bgcolor: "rgba(0,0,0,0)" },
});

const axis = (page, title, more = {}) => ({
  title: { text: plain(title), standoff: 8 }, automargin: true, gridcolor: page.rule, zerolinecolor: page.faint, linecolor: page.faint,
  tickfont: { color: page.muted }, ...more,
});

/** Plotly reads a little markup in texts: a name that holds some is shown as it is. */
const plain = (text) => String(text ?? "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/**
 * Draw lines; a series with an `axis` is drawn against a second axis of that name on the right. Where it is `settled`
 * the height is that of what came after the first tenth: a double click shows all. `zoomed([from, to])` says what part of
 * it the user looks at, and `zoomed(null)` that it is all of it again.
 */
export function lines(element, { title, x, y, series, log = false, settled = false, zoomed }) {
  const right = series.find((one) => one.axis)?.axis;
  return draw(element, title, (page) => ({
    data: series.map((one, i) => ({
      type: "scatter", mode: one.x.length < 2 || one.marked ? "lines+markers" : "lines", name: plain(one.name), x: one.x, y: one.y,
      connectgaps: false, yaxis: one.axis ? "y2" : "y", opacity: one.faint ? 0.35 : 1, showlegend: !one.faint, hoverinfo: one.faint ? "skip" : undefined,
      line: { color: page.lines[(one.colour ?? i) % page.lines.length], width: 1.8, dash: one.dashed ? "dot" : DASHES[Math.floor((one.colour ?? i) / page.lines.length) % DASHES.length] },
      marker: { size: 5 },
    })),
    layout: {
      xaxis: axis(page, x), yaxis: axis(page, y, log ? { type: "log" } : settled ? late(series) : {}),
      ...(right ? { yaxis2: axis(page, right, { overlaying: "y", side: "right", showgrid: false, tickmode: "auto", nticks: 6, rangemode: "tozero" }) } : {}),
    },
  }), { zoomed });
}

/** The range of what came after the first tenth of the way, where there is enough to tell. */
function late(series) {
  const left = series.filter((one) => !one.axis && one.x.length);
  if (!left.some((one) => one.x.length >= 20)) return {};
  const ends = left.flatMap(({ x }) => [x[0], x.at(-1)]);
  const from = Math.min(...ends) + (Math.max(...ends) - Math.min(...ends)) / 10;
  const values = left.flatMap((one) => one.y.filter((value, i) => one.x[i] >= from && Number.isFinite(value)));
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const margin = 0.08 * (high - low || Math.abs(high) || 1);
  return low <= high ? { range: [low - margin, high + margin] } : {};
}

/** Draw numbers as a heat map from the card's colour (0) to the accent: the highest, or `floor` where all are below it. */
export function heat(element, { title, x, y, z, unit = "", floor = 1e-9 }) {
  return draw(element, title, (page) => ({
    data: [{
      type: "heatmap", x: x.values, y: y.values.map(plain), z, zmin: 0, zmax: z.flat().reduce((a, b) => Math.max(a, b ?? 0), floor), colorscale: [[0, page.card], [1, page.accent]], hoverongaps: false,
      hovertemplate: `${plain(x.title)} %{x}<br>%{y}: %{z:.3f} ${plain(unit)}<extra></extra>`,
      colorbar: { title: { text: plain(unit), side: "right" }, thickness: 12, outlinewidth: 0, tickfont: { color: page.muted } },
    }],
    layout: {
      showlegend: false, hovermode: "closest", xaxis: axis(page, x.title, { showgrid: false, zeroline: false }),
      yaxis: axis(page, y.title, { showgrid: false, zeroline: false, type: "category", autorange: "reversed" }),
    },
  }));
}

/** Draw points, each with a text of its own; `joined` ones of a series are joined by a line. */
export function points(element, { title, x, y, series, click }) {
  return draw(element, title, (page) => ({
    data: series.map((one, i) => ({
      type: "scatter", mode: one.joined ? "lines+markers" : "markers", name: plain(one.name), x: one.x, y: one.y,
      text: one.text?.map(plain), customdata: one.keys, hovertemplate: `${one.text ? "%{text}<br>" : ""}${plain(x)} %{x:.2f}, ${plain(y)} %{y:.2f}<extra></extra>`,
      marker: { size: 9, color: page.lines[i % page.lines.length] }, line: { width: 1, color: page.faint },
    })),
    layout: { hovermode: "closest", showlegend: series.length > 1, xaxis: axis(page, x), yaxis: axis(page, y) },
  }), { clicked: click && ((point) => click(point.customdata, point)) });
}

/** Smooth by an exponential moving average whose beginning is not pulled to zero; gaps stay gaps. */
export function smoothed(values, weight) {
  if (!weight) return values;
  let [sum, mass] = [0, 0];
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    [sum, mass] = [weight * sum + (1 - weight) * value, weight * mass + (1 - weight)];
    return sum / mass;
  });
}
