// What the map is made of, from the server.

import { bytes, ready } from "../api.js";

/** Read the points: x and y of each, and the class of each. */
export async function points(run, parameters, count, signal) {
  const raw = await bytes(`/api/runs/${run}/map/points`, parameters, signal);
  return { xy: new Float32Array(raw, 0, 2 * count), which: new Int32Array(raw, 8 * count, count) };
}

/** Read a density; its cells are bytes. */
export async function density(run, parameters, signal, waiting) {
  const found = await ready(`/api/runs/${run}/map/density`, parameters, signal, waiting);
  return { ...found, cells: Uint8Array.from(atob(found.cells), (c) => c.charCodeAt(0)) };
}
