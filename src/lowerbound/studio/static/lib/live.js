// What is added to a run while the page is open: server-sent events, let go while the page is hidden.

import { get } from "./api.js";

const AGAIN = 1000; // milliseconds until a stream that broke off is opened anew

/**
 * Follow a run from a mark of its history: `rows({rows, elapsed, frames})` are new, `state()` has changed, `again()` says
 * that the history was cut back, or is another one: read it from its beginning. Ends with the signal. A browser has few
 * connections to one address: a page that nobody sees keeps none, and goes on from its mark when it is seen.
 */
export function follow(run, since, { rows, state, again }, signal) {
  let stream = null;

  function open() {
    if (stream || document.hidden || signal.aborted) return;
    stream = new EventSource(`/api/runs/${run}/stream?since=${since}`);
    stream.addEventListener("rows", (event) => {
      const found = JSON.parse(event.data);
      since = found.since;
      rows(found);
    });
    stream.addEventListener("state", state);
    stream.addEventListener("again", () => {
      close();
      again();
    });
    stream.onerror = broken;
  }
  function close() {
    stream?.close();
    stream = null;
  }
  async function broken() {
    close();
    try {
      await get("/api/alive"); // the page is told where the studio is away, and comes back by itself
      setTimeout(seen, AGAIN);
    } catch {
      // app.js shows the banner, and the view anew when the studio is there again
    }
  }
  const seen = () => (document.hidden ? close() : (state(), open()));
  document.addEventListener("visibilitychange", seen, { signal });
  signal.addEventListener("abort", close);
  open();
}
