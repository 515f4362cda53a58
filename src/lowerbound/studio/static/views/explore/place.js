// Where one is in the latent space: what the sliders, the map, samples and anchors set, and everything else follows.

/** Make a place: `set(z, from)` moves there; `on(listener)` is told of each move, with what it came from. */
export function place(z, row = null) {
  const listeners = [];
  return {
    z,
    row, // of the held-out image whose code this is, if it is one
    on: (listener) => listeners.push(listener),
    set(next, { row = null, from = null } = {}) {
      this.z = [...next];
      this.row = row;
      listeners.forEach((listener) => listener(this.z, from));
    },
  };
}

/** Name one of the held-out images, or examples. */
export const heldOut = (model) => `${model.split} ${model.noun.slice(0, -1)}`;

/** Wait until nothing has asked for a while. */
export function settled(work, milliseconds, signal) {
  let timer = null;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return (...what) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...what), milliseconds);
  };
}
