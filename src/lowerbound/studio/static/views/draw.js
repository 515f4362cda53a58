// An image of one's own: what the model sees in it, where it is on the map, and what it would put in place of a part.

import { remember } from "../lib/address.js";
import { get, newest, post, ready } from "../lib/api.js";
import { fill, h, number, say } from "../lib/dom.js";
import { HALVES } from "../lib/easel.js";
import { head } from "../lib/head.js";
import { latentMap } from "../lib/map.js";
import { command, images, loading, picture, problem, working } from "../lib/parts.js";
import { MU, RATE, RATES, SIGMA, SPREAD, costs, latents } from "../lib/posterior.js";
import { subject } from "../lib/subject.js";

export default {
  title: "Draw",
  show: (root, { run, state }, signal) =>
    loading(root, "Opening the model …", async () => {
      const line = await get(`/api/runs/${run}`, {}, signal);
      if (line.shape?.length !== 3) return { line, vectors: true };
      return { line, info: await get(`/api/runs/${run}/easel`, {}, signal) };
    }, ({ line, info, vectors }) => [head(line, "draw"), vectors
      ? h("p", {}, "The data of this run are vectors, not images: there is nothing to draw. The latent map of the view Explore shows them.")
      : page(run, info, state, signal)]),
};

function page(run, info, state, signal) {
  const scale = Math.max(1, Math.floor(112 / Math.max(info.width, info.height)));
  const one = (name) => images(name, { scale });
  const [given, back, samples] = [one("The picture as the model sees it"), one("Its reconstruction"), images("Eight samples of its posterior, decoded", { scale: Math.max(1, Math.floor(scale * 0.62)), columns: 4 })];
  const bars = latents(info.point ? [{ ...SPREAD, name: "from −4 to 4" }, { ...MU, name: "code" }] : [SPREAD, MU, SIGMA, RATES, RATE]);
  const [numbers, line, wrong, near, hint] = [h("div"), h("div"), h("div"), h("div"), h("p", {}, "Draw something, or take a picture: what the model sees in it appears here.")];
  const seen = h("div", { hidden: true },
    h("div", { class: "trio" }, picture(given, "as the model sees it", "seen"), picture(back, "reconstruction", "reconstruction"), info.point ? null : picture(samples, "samples z ~ q(z|x), decoded", "posterior-samples")),
    numbers, h("h3", {}, info.point ? "Its code, latent by latent" : "Its posterior, latent by latent"), bars, h("p", { class: "note" }, info.note), line);
  const map = latentMap(run, { state: { plane: state.plane, zoom: state.zoom }, changed: ({ plane, zoom }) => remember({ plane, zoom }) });
  let [current, found, missed] = [null, null, 0];

  const ask = newest((image) => post(`/api/runs/${run}/posterior`, image, signal), (next) => {
    found = next;
    missed = 0;
    given.draw(next.picture);
    back.draw(next.reconstruction);
    samples.draw(next.samples);
    bars.show(next);
    fill(line, same(next));
    fill(numbers, costs(next), h("p", { class: "note" }, [
      info.point ? "" : `Distortion is the mean over ${next.average} samples of the posterior. `, info.cost ? `It is ${info.cost}. ` : "",
      next.exact || info.point ? "" : "This posterior has no σ of its own: it is the spread of its samples. "]));
    map.posterior({ mu: next.mu, sigma: next.sigma, name: "yours" });
    fill(wrong);
    seen.hidden = false;
    hint.hidden = true;
    if (!it.board.drawing) nearest(next.mu);
  }, failed);
  const encoding = working("Encoding the images it is compared with …");
  const nearest = newest((z) => ready(`/api/runs/${run}/nearest`, { z, number: 8 }, signal, told, post), (next) => fill(near, neighbours(next, info, it)), (error) => fill(near, h("p", { class: "note" }, error.message)));
  function told(how) {
    if (!encoding.isConnected) fill(near, encoding);
    encoding.told(how);
  }

  const asked = () => (it.row === null ? { image: current.id } : { row: it.row });

  function failed(error) {
    if (error.status === 404 && current && missed++ < 2) return it.again(); // newer pictures took its place
    fill(wrong, problem(error));
  }
  const it = subject(run, info, {
    state, signal, mask: true, failed,
    hidden: () => filler.changed(),
    changed(next) {
      if (current?.picture.sheet !== next?.picture.sheet) filler.forget();
      current = next;
      if (next) return ask(asked());
      seen.hidden = true;
      hint.hidden = false;
      map.posterior(null);
    },
  });
  const filler = filling(run, info, it, () => current && asked(), signal);
  it.start().catch(failed);
  signal.addEventListener("abort", () => map.close());
  return [
    h("div", { class: "columns draw" },
      h("section", { class: "card" }, h("h2", {}, "Your picture"), info.missing ? h("p", { class: "note" }, info.missing) : null, it.element),
      h("section", { class: "card" }, h("h2", {}, "What the model sees"), wrong, hint, seen)),
    h("section", {}, h("h2", {}, "Fill in what is missing"), filler),
    h("section", {}, h("h2", {}, "Its place on the map"), h("p", { class: "note" }, info.point ? "The cross is the code of your picture." : "The cross and the ellipse are the posterior of your picture: its centre, and how sure the model is."), map),
    h("section", {}, h("h2", {}, `The nearest ${info.split} images`), near),
  ];
}

function neighbours(next, info, it) {
  const canvas = images("The nearest images", { scale: Math.max(1, Math.floor(64 / info.width)) });
  canvas.draw(next, 8);
  return [
    picture(canvas, "by the distance of the codes, the nearest first", "nearest"),
    h("ul", { class: "plain across" }, next.rows.map((row, i) => h("li", {}, h("button", { type: "button", class: "quiet", onclick: () => it.held(row) },
      `${row}${next.labels ? ` (${next.labels[i]})` : ""}`), h("span", { class: "note" }, ` ${number(next.distances[i])}`)))),
    command(next.command),
  ];
}

/** Hide a part, and have it drawn by the model. */
function filling(run, info, it, current, signal) {
  const [out, told] = [h("div"), h("p", { class: "note", role: "status" })];
  const start = h("button", { type: "button", disabled: true, onclick: go }, "Fill in");
  const part = h("select", { onchange: () => { if (part.value) it.board.part(part.value); } },
    Object.entries({ "": "a part …", ...HALVES }).map(([value, name]) => h("option", { value }, name)));
  const steps = h("select", {}, [[100, "100, quick"], [500, "500"], [1000, "1,000"], [2000, "2,000"]].map(([value, name]) => h("option", { value, selected: value === 500 }, name)));

  let stop = null; // ends the chains that are under way
  let renewed = false; // they were of a picture that has changed since: they begin again
  signal.addEventListener("abort", () => stop?.abort());

  function changed() {
    const mask = it.board.mask();
    start.textContent = stop ? "Stop" : "Fill in";
    start.disabled = !stop && !(mask && current());
    fill(told, mask ? `${number(mask.count, 0)} of ${number(info.width * info.height, 0)} pixels are hidden.` : "Nothing is hidden yet: take the tool “Hide a part” and go over the picture, or choose a half.");
    if (!mask?.name) part.value = "";
  }

  function forget() {
    renewed = stop !== null;
    stop?.abort();
    fill(out);
  }

  async function go() {
    if (stop) return stop.abort();
    stop = new AbortController();
    const mask = it.board.mask();
    const bar = working("Drawing the missing pixels …");
    fill(out, bar);
    changed();
    try {
      const asked = { ...current(), missing: mask.name ?? mask.digits, steps: Number(steps.value) };
      fill(out, filled(await ready(`/api/runs/${run}/impute`, asked, stop.signal, bar.told, post), info));
      say("Filled in");
    } catch (error) {
      fill(out, error.name === "AbortError" ? null : problem(error));
    }
    stop = null;
    changed();
    if (renewed && !start.disabled) go();
    renewed = false;
  }
  changed();
  return Object.assign(h("div", {},
    h("p", {}, "Hide a part of the picture: the model draws it from what it still sees. Five chains, so five answers; where they agree the rest of the picture decides it."),
    h("div", { class: "row" }, h("label", { class: "choice" }, "Hide the", part),
      h("button", { type: "button", class: "quiet", onclick: () => it.unhide() }, "Hide nothing"),
      h("label", { class: "choice" }, "Steps", steps), start), told, out), { changed, forget });
}

/** The command or line that does the same, with what a line about a drawing must be given. */
const same = ({ command: text, given }) => command(text, given ? `The same in Python; ${given}` : undefined);

function filled(found, info) {
  const scale = Math.max(1, Math.floor(84 / info.width));
  const [seen, draws, mean] = [images("What the model was given: the hidden part is grey", { scale }), images("Five completions", { scale }), images("Their mean", { scale })];
  seen.draw(found.seen);
  draws.draw(found.draws);
  mean.draw(found.mean);
  return [
    h("div", { class: "trio" }, picture(seen, "given", "given"), picture(draws, "completions", "completions"), picture(mean, "mean", "completion-mean")),
    found.acceptance === null ? null : h("p", { class: "note" }, `${number(100 * found.acceptance, 0)}% of the proposals were accepted: ${number(found.moves, 0)} moves of each chain. Few are usual, for a step must fit all that is seen; a chain needs some tens of moves to forget where it began.`),
    found.notes.map((note) => h("p", { class: "note" }, note)),
    same(found),
  ];
}
