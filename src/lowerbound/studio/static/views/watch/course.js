// The rows of a history on the page: those that the server chose, and those that came since.

import { number } from "../../lib/dom.js";

/** What stands below the curves: the step, the epoch, or the minutes of training. */
export const X = { step: { title: "steps" }, epoch: { title: "epochs" }, time: { title: "minutes" } };

export class Course {
  constructor(found) {
    this.read(found);
  }

  /** Take what the server gives of a history. */
  read({ rows, count, since, elapsed, frames, plan }) {
    Object.assign(this, { rows, count, since, elapsed, frames, plan, shown: rows.length, part: null });
    this.total = plan.total;
  }

  /** Whether rows are left out between those that are shown. */
  get thinned() {
    return this.shown < this.count;
  }

  /** The steps of the rows around a part of an axis. */
  span([from, to], axis) {
    const low = this.rows.findLast((row) => this.at(row.step, axis) <= from) ?? this.rows[0];
    const high = this.rows.find((row) => this.at(row.step, axis) >= to) ?? this.rows.at(-1);
    return { low: low.step, high: high.step };
  }

  /** The rows that are drawn: within the part that the user looks at those that were asked for it. */
  get drawn() {
    if (!this.part?.rows.length) return this.rows;
    const [low, last] = [this.part.low, this.part.rows.at(-1).step];
    return [...this.rows.filter(({ step }) => step < low), ...this.part.rows, ...this.rows.filter(({ step }) => step > last)];
  }

  /** Take what was added to it; what is known already is passed over. */
  add({ since, rows, elapsed, frames }) {
    this.since = since;
    const newest = { train: -1, validation: -1 };
    for (const { split, step } of this.rows.slice(-50)) newest[split] = Math.max(newest[split], step);
    const more = rows.filter(({ split, step }) => step > newest[split]);
    this.rows.push(...more);
    this.count += more.length;
    this.shown += more.length;
    const timed = this.elapsed.at(-1)?.[0] ?? 0;
    this.elapsed.push(...elapsed.filter(([step]) => step > timed));
    const latest = this.frames.at(-1)?.step ?? -1;
    this.frames.push(...frames.filter(({ step }) => step > latest));
  }

  /** Place a step on an axis. */
  at(step, axis) {
    if (axis === "epoch") return step / this.plan.epoch;
    if (axis === "time") return this.seconds(step) / 60;
    return step;
  }

  /** Say when a step was done, between the times that are known. */
  seconds(step) {
    const all = this.elapsed;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle][0] < step) low = middle + 1;
      else high = middle;
    }
    const [from, begun] = low ? all[low - 1] : [0, 0];
    const [to, done] = all[Math.min(low, all.length - 1)] ?? [0, 0];
    return to > from ? begun + ((done - begun) * (Math.min(step, to) - from)) / (to - from) : done;
  }

  /** Say which of the rows are shown. */
  told() {
    if (!this.rows.length) return "Nothing is logged yet: the first point comes after its first steps.";
    const some = ({ shown, count }) => `${number(shown, 0)} of ${shown < count ? "about " : ""}${number(count, 0)} rows`;
    if (this.part) return `${some({ shown: this.part.rows.length, count: this.part.count })} of the steps ${number(this.part.low, 0)} to ${number(this.part.high, 0)} are shown.`;
    return this.thinned ? `${some(this)} are shown, evenly spread: zoom in to see those between.` : "";
  }

  /** Give the values of a name in a split: {x, y}. */
  series(name, split, axis) {
    const rows = this.drawn.filter((row) => row.split === split && row[name] !== undefined);
    return { x: rows.map((row) => this.at(row.step, axis)), y: rows.map((row) => row[name]) };
  }

  /** The names of what is logged. */
  names() {
    return [...new Set([...this.rows.slice(0, 3), ...this.rows.slice(-20)].flatMap(Object.keys))];
  }

  /** Where the KL of each latent is known: the frames, or else the validations. */
  latents() {
    const of = (rows) => rows.filter((row) => row.kl_by_dim?.length);
    const frames = of(this.frames);
    return frames.length ? frames : of(this.rows);
  }
}
