// The runs of the folder: sorted, filtered, chosen to be compared; it follows what trains.

import { href, remember } from "../lib/address.js";
import { get } from "../lib/api.js";
import { ahead } from "../lib/charts.js";
import { fill, h, number, say } from "../lib/dom.js";
import { state as stateOf, weight } from "../lib/head.js";
import { choice, command, loading, problem } from "../lib/parts.js";
import { COLUMNS, filtered, grouped, sorted, time } from "../lib/runs.js";

const SOON = 1000; // milliseconds between two looks while something trains
const LATER = 4000;
const MOST = 64; // runs that are compared at once

export default {
  title: "Runs",
  show: (root, address, signal) =>
    loading(root, "Reading the runs …", () => get("/api/runs", {}, signal), (found) => page(found, address.state, signal)),
};

function page(first, address, signal) {
  ahead(); // most who are here open a run, or compare some
  const settings = { q: address.q ?? "", state: address.state ?? "", data: address.data ?? "", sort: address.sort ?? "-when" };
  const chosen = new Set((address.chosen ?? "").split(",").filter(Boolean));
  let found = first;
  const body = h("tbody");
  const rows = new Map();
  const heads = new Map(COLUMNS.map((column) => [column.key, head(column, sort)]));
  const all = h("input", { type: "checkbox", "aria-label": "Choose all that are shown", onchange: () => choose(visible().flat(), all.checked) });
  const table = h("table", { class: "runs" }, h("caption", { class: "unseen" }, "The runs of the folder"), h("thead", {}, h("tr", {}, h("th", { class: "pick" }, all), [...heads.values()])), body);
  const count = h("span", { class: "note", role: "status" });
  const compare = h("a", { class: "button" }, "Compare");
  const clear = h("button", { type: "button", class: "plain", onclick: () => choose(found.runs, false) }, "Choose none");
  const filters = h("div", { class: "row" });
  const [empty, wrong] = [h("div"), h("div")];
  const actions = h("div", { class: "row" }, compare, clear, count);
  const wide = h("div", { class: "wide" }, table);

  const visible = () => sorted(filtered(found.runs, settings), settings.sort);

  function set(changes) {
    Object.assign(settings, changes);
    remember({ ...settings, sort: settings.sort === "-when" ? "" : settings.sort });
    draw();
  }

  function sort(key, figure) {
    const [down, up] = [`-${key}`, key];
    set({ sort: settings.sort === (figure ? down : up) ? (figure ? up : down) : figure ? down : up });
    say(`Sorted by ${heads.get(key).textContent}, ${settings.sort.startsWith("-") ? "descending" : "ascending"}`);
  }

  function choose(runs, on) {
    for (const run of runs) chosen[on ? "add" : "delete"](run.id);
    remember({ chosen: [...chosen].join(",") });
    draw();
  }

  function draw() {
    const blocks = visible();
    const shown = blocks.flat();
    for (const { key, figure } of COLUMNS) {
      const by = settings.sort.replace(/^-/, "") === key;
      heads.get(key).setAttribute("aria-sort", !by ? "none" : settings.sort.startsWith("-") ? "descending" : "ascending");
    }
    place(blocks.flatMap((block) => [...(block[0].group === null ? [] : [groupRow(block)]), ...block.map(runRow)]));
    const some = [...chosen].filter((id) => found.runs.some((run) => run.id === id));
    all.checked = shown.length > 0 && shown.every((run) => chosen.has(run.id));
    all.indeterminate = !all.checked && shown.some((run) => chosen.has(run.id));
    told(count, `${shown.length === found.runs.length ? "" : `${shown.length} of `}${found.runs.length} ${found.runs.length === 1 ? "run" : "runs"}${some.length ? `, ${some.length} chosen` : found.runs.length > 1 ? "; choose two or more to compare them" : ""}`);
    const ready = some.length > 1 && some.length <= MOST;
    told(compare, some.length > MOST ? `Compare at most ${MOST}` : "Compare");
    if (ready) compare.setAttribute("href", href("compare", "", { runs: some.join(",") }));
    else compare.removeAttribute("href");
    compare.setAttribute("aria-disabled", String(!ready));
    compare.title = ready ? "" : "Choose two runs or more";
    clear.hidden = !some.length;
    wide.hidden = !shown.length;
    filters.hidden = actions.hidden = !found.runs.length;
    if (shown.length) fill(empty);
    else if (found.runs.length) fill(empty, h("p", {}, "No run is as the filters ask. "), h("button", { type: "button", class: "plain", onclick: unfiltered }, "Show all"));
    else fill(empty, nothing(found));
  }

  /** Put rows in their order, moving only what stands elsewhere; the focus stays where it was. */
  function place(wanted) {
    const focus = document.activeElement;
    const keep = new Set(wanted);
    for (const [key, row] of rows) if (!keep.has(row.element)) rows.delete(key), row.element.remove();
    let next = body.firstChild;
    for (const element of wanted) {
      if (element === next) next = next.nextSibling;
      else body.insertBefore(element, next);
    }
    if (focus !== document.activeElement && body.contains(focus)) focus.focus({ preventScroll: true });
  }

  function row(key, facts, make, mark) {
    const known = JSON.stringify(facts);
    let kept = rows.get(key);
    if (!kept) rows.set(key, (kept = { element: h("tr"), pick: h("input", { type: "checkbox" }) }));
    if (kept.known !== known) {
      kept.known = known;
      const cells = make(kept);
      cells.forEach((cell, i) => replace(kept.element, cell, i));
    }
    mark(kept);
    return kept.element;
  }

  function runRow(run) {
    return row(run.id, run, ({ pick, element }) => {
      pick.setAttribute("aria-label", `Choose ${run.name}`);
      pick.onchange = () => choose([run], pick.checked);
      element.className = run.group === null ? "" : "member";
      return [h("td", { class: "pick" }, pick), ...cellsOf(run)];
    }, ({ pick }) => (pick.checked = chosen.has(run.id)));
  }

  function groupRow(block) {
    const group = found.groups.find((one) => one.name === block[0].group);
    const runs = found.runs.filter((run) => run.group === group.name);
    return row(`group ${group.name}`, [group, runs.map((run) => run.state), block.length], ({ pick, element }) => {
      pick.setAttribute("aria-label", `Choose all shown of ${group.name}`);
      element.className = "group";
      return [h("td", { class: "pick" }, pick), h("th", { scope: "row", colspan: COLUMNS.length }, groupText(group, runs, block.length))];
    }, ({ pick }) => {
      pick.checked = block.every((run) => chosen.has(run.id));
      pick.indeterminate = !pick.checked && block.some((run) => chosen.has(run.id));
      pick.onchange = () => choose(block, pick.checked);
    });
  }

  async function follow() {
    while (!signal.aborted) {
      await new Promise((done) => setTimeout(done, found.runs.some((run) => run.state === "training") ? SOON : LATER));
      if (signal.aborted || document.hidden) continue;
      const next = await get("/api/runs", {}, signal).catch(failed);
      if (!next || signal.aborted) continue;
      fill(wrong);
      const before = new Map(found.runs.map((run) => [run.id, run.state]));
      const ended = next.runs.filter((run) => before.get(run.id) === "training" && run.state !== "training");
      if (ended.length) say(ended.map((run) => `${run.name}: ${run.state}`).join("; "));
      found = next;
      choices();
      draw();
    }
  }

  /** Say what the studio cannot read; that it is away the page says itself. */
  function failed(error) {
    if (error.status && wrong.textContent !== error.message) fill(wrong, problem(error));
  }

  function unfiltered() {
    set({ q: "", state: "", data: "" });
    offered = "";
    choices();
    filters.querySelector("input").focus();
  }

  let offered = "";

  /** Offer the states and data that there are. */
  function choices() {
    const of = (key) => [...new Set([settings[key], ...found.runs.map((run) => run[key])].filter(Boolean))].sort();
    const [states, data] = [of("state"), of("data")];
    if (JSON.stringify([states, data]) === offered || filters.contains(document.activeElement)) return;
    offered = JSON.stringify([states, data]);
    const options = (every, some) => ({ "": every, ...Object.fromEntries(some.map((name) => [name, name])) });
    const search = h("input", { type: "search", value: settings.q, maxlength: 200, oninput: () => set({ q: search.value }) });
    fill(filters, h("label", { class: "choice" }, h("span", {}, "Filter"), search),
      choice("State", options("all", states), settings.state, (value) => set({ state: value })),
      choice("Data", options("all", data), settings.data, (value) => set({ data: value })));
  }

  choices();
  draw();
  follow();
  return [
    h("h1", {}, "Runs"), h("p", { class: "note" }, "In ", h("code", {}, first.folder)), wrong, filters,
    actions, wide, empty,
  ];
}

function head({ key, text, figure, title }, sort) {
  return h("th", { class: figure ? "figure" : undefined, scope: "col", title }, h("button", { type: "button", class: "sort", onclick: () => sort(key, figure) }, text));
}

/** Put a cell into a row without touching it where it says the same already. */
function replace(element, cell, i) {
  const there = element.children[i];
  if (!there) element.append(cell);
  else if (there.contains(document.activeElement) && there.textContent === cell.textContent) return;
  else if (there !== cell && !there.isEqualNode(cell)) there.replaceWith(cell);
}

function told(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function cellsOf(run) {
  const damaged = run.state === "damaged";
  const view = run.state === "training" || run.own ? "watch" : "explore";
  const name = run.group === null ? run.name : run.name.slice(run.group.length + 1);
  const figure = (column, text, more = {}) => h("td", { class: "figure", "data-column": column, ...more }, text);
  const figures = run.split ? {} : { class: "figure so-far" };
  const begun = time(run.when);
  return [
    h("th", { scope: "row", class: "name" }, damaged ? name : h("a", { href: href(view, run.id) }, name), damaged || run.why ? h("div", { class: "problem why" }, run.error ?? run.why) : null),
    h("td", { class: "how" }, stateOf(run)),
    h("td", { class: "word" }, run.data ?? "–"),
    h("td", { class: "word" }, run.recipe ?? "–"),
    figure("β", weight(run)),
    figure("latents", number(run.latents, 0)),
    figure("elbo", run.told ?? "–", { ...figures, title: run.split ?? "So far, as it trains" }),
    figure("rate", number(run.rate), figures),
    figure("in use", number(run.active, 0)),
    figure("begun", begun ? h("time", { datetime: begun.toISOString() }, when(begun)) : (run.when ?? "–")),
  ];
}

const when = (time) => time.toLocaleString("en-GB", { day: "numeric", month: "short", year: time.getFullYear() === new Date().getFullYear() ? undefined : "numeric", hour: "2-digit", minute: "2-digit" });

function groupText(group, runs, shown) {
  const states = [...grouped(runs, (run) => run.state)].map(([state, some]) => `${some.length} ${state}`);
  if (group.waiting.length) states.push(`${group.waiting.length} waiting`);
  const kind = group.kind === "sweep" ? "a sweep" : "several seeds";
  return [
    group.name, h("span", { class: "note" }, ` ${kind}: ${states.join(", ")}${shown < runs.length ? `; ${shown} shown` : ""} `),
    group.report ? h("a", { href: `/api/groups/${group.id}/report`, target: "_blank", rel: "noopener" }, "report") : null,
  ];
}

function nothing({ command: text }) {
  return [
    h("p", {}, "No run is here yet. ", h("a", { href: "#/train" }, "Train the first one"), ", or choose another folder: ", h("code", {}, "lowerbound studio FOLDER"), "."),
    command(text),
  ];
}
