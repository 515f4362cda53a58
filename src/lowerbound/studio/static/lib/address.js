// The view and its state stand in the URL, after the #: a link brings both back.
//   #/explore/0123456789ab?z=1x1.5&plane=pca

const KEPT = "lowerbound.address";

/** Read an address: {view, run, state}. */
export function read(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view = "", run = ""] = path.split("/");
  return { view, run, state: Object.fromEntries(new URLSearchParams(query)) };
}

/** Write an address: href(view, run, state). */
export function href(view, run = "", state = {}) {
  const query = new URLSearchParams(Object.entries(state).filter(([, v]) => v !== undefined && v !== null && v !== "")).toString();
  return `#/${view}${run ? `/${run}` : ""}${query ? `?${query}` : ""}`;
}

/** Change some of the view's state in the URL without leaving the view. */
export function remember(changes) {
  const { view, run, state } = read();
  const next = href(view, run, { ...state, ...changes });
  history.replaceState(null, "", next);
  keep();
}

/** Keep the address, so that the next link of the studio comes back to it. */
export function keep() {
  try {
    localStorage.setItem(KEPT, location.hash);
  } catch {
    // a browser that keeps nothing: the URL still has it
  }
}

/** Give the address that was kept. */
export function kept() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}
