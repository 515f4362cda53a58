// Stopping a training, and going on with it: buttons for every view that shows a run.

import { post } from "./api.js";
import { fill, h, say } from "./dom.js";

/**
 * The buttons for a run: Stop while it is trained, Resume where it was stopped, none else. The summary is a line of
 * /api/runs ({id, name, state}), or of /api/trainings with `kind: "trainings"`; `changed()` is called when it was done.
 */
export function controls(summary, { kind = "runs", changed = () => {} } = {}) {
  const root = h("span", { class: "controls" });
  const told = h("span", { class: "note", role: "status" });
  const button = (text, act, plain = "plain") => h("button", { type: "button", class: plain, onclick: act }, text);

  async function act(what, words) {
    fill(root, told);
    told.textContent = `${words} …`;
    try {
      await post(`/api/${kind}/${summary.id}/${what}`);
      say(`${words}: ${summary.name}`);
      changed();
    } catch (error) {
      told.textContent = error.message;
      told.className = "problem";
      root.append(" ", button("Again", rest));
    }
  }

  function sure() {
    const yes = button("Save and stop", () => act("stop", "Stopping, it saves first"), "");
    fill(root, h("span", { class: "note" }, "It can be gone on with later. "), yes, " ", button("Go on training", () => rest(true)));
    yes.focus();
  }

  function rest(focus = false) {
    told.className = "note";
    const name = (verb) => [verb, h("span", { class: "unseen" }, ` ${summary.name}`)];
    const running = summary.state === "training" || summary.state === "starting";
    const one = running ? button(name("Stop"), sure) : ["stopped", "diverged"].includes(summary.state) ? button(name("Resume"), () => act("resume", "Going on")) : null;
    fill(root, one);
    if (focus === true) one?.focus();
  }

  rest();
  return root;
}
