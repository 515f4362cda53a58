// The page: it shows the view that the address names, and says when the studio is not there.

import { keep, kept, read } from "./lib/address.js";
import { get, onConnection } from "./lib/api.js";
import { fill, h, hush } from "./lib/dom.js";
import { problem } from "./lib/parts.js";
import compare from "./views/compare.js";
import draw from "./views/draw.js";
import explore from "./views/explore.js";
import runs from "./views/runs.js";
import tour from "./views/tour.js";
import train from "./views/train.js";
import watch from "./views/watch.js";

// a view is {title, show(root, address, signal)}; the signal says when it is left
const VIEWS = { runs, compare, train, watch, explore, draw, tour };
const MENU = { runs: "Runs", train: "Train", tour: "Understand" };
const menu = Object.fromEntries(Object.entries(MENU).map(([name, text]) => [name, h("a", { href: `#/${name}` }, text)]));
const AGAIN = 1000; // milliseconds between two looks for a studio that went away

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let leave = new AbortController();

async function show() {
  const address = read();
  if (!Object.hasOwn(VIEWS, address.view)) {
    location.replace(Object.hasOwn(VIEWS, read(kept()).view) ? kept() : "#/runs");
    return;
  }
  keep();
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const view = VIEWS[address.view];
  document.title = `${view.title} · lowerbound studio`;
  for (const [name, link] of Object.entries(menu)) {
    if (name === address.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main);
  hush();
  try {
    await view.show(main, address, signal);
  } catch (error) {
    if (!signal.aborted) fill(main, h("h1", {}, view.title), problem(error));
  }
}

let away = null;

function connection(state) {
  if (state === "up") {
    if (away) {
      clearInterval(away);
      away = null;
      banner.hidden = true;
      show();
    }
    return;
  }
  banner.hidden = false;
  fill(banner, state === "down"
    ? ["The studio has ended, or does not answer. Trainings go on without it. Start it again with ", h("code", {}, "lowerbound studio"), " and open its new link: this page comes back as it is."]
    : "The studio was started anew. Open the new link that it printed: this page comes back as it is.");
  away ??= setInterval(() => get("/api/alive").catch(() => {}), AGAIN);
}

/** Show what the address names now; where the link that led there is gone the focus is on the content. */
function moved() {
  show();
  if (document.activeElement === document.body) main.focus({ preventScroll: true });
}

fill(document.getElementById("views"), Object.values(menu));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands after the # is the address of a view
  main.focus();
});
onConnection(connection);
window.addEventListener("hashchange", moved);
show();
