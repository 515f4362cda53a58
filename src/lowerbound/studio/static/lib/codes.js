// Codes in the URL: those of their numbers that are not 0, each with its place. A link with 500 latents stays short.
//   [0.52, 0, -1.2]  <->  0x0.52_2x-1.2

/** Write a code. */
export function toText(z) {
  const some = [...z].map((value, i) => [i, Number(value.toFixed(3))]).filter(([, value]) => value !== 0);
  return some.length ? some.map(([i, value]) => `${i}x${value}`).join("_") : "0x0";
}

/** Read a code of so many latents, or null where it is none. */
export function fromText(text, latents) {
  const z = new Array(latents).fill(0);
  for (const part of (text ?? "").split("_")) {
    const [, place, value] = /^(\d+)x(-?[\d.]+(?:e-?\d+)?)$/.exec(part) ?? [];
    const [i, number] = [Number(place), Number(value)];
    if (place === undefined || !(i < latents) || !(Math.abs(number) <= 1e4)) return null;
    z[i] = number;
  }
  return z;
}

/** Write anchors {z, row?}, those that are held-out images with their row: r12_0x0.52*0x1. */
export const anchorsToText = (anchors) =>
  anchors.map(({ z, row }) => (row === undefined || row === null ? "" : `r${row}_`) + toText(z)).join("*");

/** Read anchors; what is none is left out. */
export function anchorsFromText(text, latents) {
  return (text ? text.split("*") : []).slice(0, 16).flatMap((part) => {
    const [, row, rest] = /^(?:r(\d{1,9})_)?(.*)$/.exec(part);
    const z = fromText(rest, latents);
    return z ? [{ z, row: row === undefined ? null : Number(row) }] : [];
  });
}
