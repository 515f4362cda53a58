// What can be taken away from a run: its report, codes, figures, card, and the commands behind them.

import { bytes, get, ready } from "./api.js";
import { fill, h, save, say } from "./dom.js";
import { busy, command, problem, working } from "./parts.js";

/** Make the menu of a run. */
export function takeAway(run) {
  const inside = h("div", { class: "menu card", tabindex: -1 });
  const menu = h("details", { class: "take" }, h("summary", { class: "button plain" }, "Take away"), inside);
  menu.addEventListener("toggle", async () => {
    if (!menu.open) return;
    fill(inside, busy("Looking …"));
    try {
      fill(inside, content(run, await get(`/api/runs/${run.id}/take`)));
    } catch (error) {
      fill(inside, problem(error));
    }
  });
  menu.addEventListener("focusout", ({ relatedTarget: next }) => {
    if (next && !menu.contains(next)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  return menu;
}

function content(run, { report, card, splits, figures, commands }) {
  const at = (rest) => `/api/runs/${run.id}/${rest}`;
  return [
    h("ul", { class: "plain" },
      report ? h("li", {}, h("a", { href: at("report"), target: "_blank", rel: "noopener" }, "The report"), " (opens in a new tab)") : null,
      card ? h("li", {}, h("a", { href: at("card"), download: `${file(run)}-README.md` }, "The model card"), ", as README.md") : null,
      splits.map((split) => h("li", {}, codes(run, split)))),
    figures.length ? [h("h3", {}, "Pictures"), h("ul", { class: "plain across" }, figures.map(({ id, name }) =>
      h("li", {}, h("a", { href: at(`figures/${id}`), download: `${file(run)}-${name}` }, name))))] : null,
    h("h3", {}, "Commands"),
    commands.map(({ what, text }) => command(text, what)),
  ];
}

function codes(run, split) {
  const told = h("div", { class: "note" });
  const button = h("button", { type: "button", class: "quiet", onclick: take }, `The codes of the ${split} split, as CSV`);
  async function take() {
    button.disabled = true;
    const bar = working("Encoding every image …");
    fill(told, bar);
    try {
      await ready(`/api/runs/${run.id}/codes`, { split }, undefined, bar.told);
      save(new Blob([await bytes(`/api/runs/${run.id}/codes.csv`, { split })], { type: "text/csv" }), `${file(run)}-codes-${split}.csv`);
      fill(told);
      say("Saved");
    } catch (error) {
      fill(told, problem(error));
    }
    button.disabled = false;
  }
  return [button, told];
}

/** Give a name that any system takes for a file. */
const file = (run) => run.name.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "").slice(0, 60) || "run";
