// The figures of a training as they are now, in words and numbers.

import { fill, h, number } from "../../lib/dom.js";
import { duration, weight } from "../../lib/head.js";

const FIGURES = ["elbo", "bound", "distortion", "rate", "loss"];

/** Make the panel; `draw(summary, course)` fills it. */
export function now() {
  const root = h("section", { class: "now", "aria-label": "Figures" });
  root.draw = (summary, course) => fill(root, summary.splits && Object.keys(summary.splits).length ? finished(summary) : running(summary, course));
  return root;
}

const figure = (name, value, unit = "") => h("div", {}, h("dt", {}, name), h("dd", {}, value, unit ? h("span", { class: "note" }, ` ${unit}`) : null));

function finished({ splits }) {
  return Object.entries(splits).map(([split, row]) => h("dl", { class: "figures card" },
    h("div", {}, h("dt", {}, "split"), h("dd", {}, split)),
    FIGURES.filter((name) => row[name]).map((name) => figure(name, row[name][2], "nats")),
    row.active?.[0] === null || row.active === undefined ? null : figure("latents in use", number(row.active[0], 0))));
}

function running(summary, course) {
  const train = course.rows.findLast((row) => row.split === "train");
  const judged = course.rows.findLast((row) => row.split === "validation");
  const pace = speed(course);
  const known = (row) => FIGURES.filter((name) => row[name] !== undefined && row[name] !== null && (name !== "loss" || row.elbo === undefined));
  if (!train) return [];
  return [
    h("dl", { class: "figures card" },
      figure("step", `${number(train.step, 0)} of ${number(course.total, 0)}`),
      known(train).map((name) => figure(name, number(train[name]), "nats")),
      train.beta === undefined ? null : figure("β", weight({ beta: train.beta })),
      pace && summary.state === "training" ? figure("speed", number(pace * course.plan.batch, 0), "a second") : null,
      summary.left === null || summary.left === undefined || summary.state !== "training" ? null : figure("time left", duration(summary.left))),
    judged ? h("dl", { class: "figures card" }, h("div", {}, h("dt", {}, "split"), h("dd", {}, `validation, step ${number(judged.step, 0)}`)),
      known(judged).map((name) => figure(name, number(judged[name]), "nats"))) : null,
  ];
}

/** Steps a second, of the newest rows. */
function speed({ elapsed }) {
  const [from, to] = [elapsed.at(-6) ?? [0, 0], elapsed.at(-1)];
  return to && to[1] > from[1] ? (to[0] - from[0]) / (to[1] - from[1]) : null;
}
