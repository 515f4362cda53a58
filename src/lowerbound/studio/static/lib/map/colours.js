// The colours of the classes: those of the figures, lighter in the dark; more than ten by hue.

const cell = document.createElement("canvas");

/** Give the value of one of the page's colours. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Give a CSS colour for each class, and one for points without. */
export function classColours(classes) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const found = new Map([[-1, colour("accent")]]);
  classes.forEach(({ value }, i) =>
    found.set(value, classes.length <= 10 ? colour(`class-${i}`) : `hsl(${Math.round((360 * i) / classes.length)} 62% ${dark ? 68 : 42}%)`));
  return found;
}

/** Give a CSS colour as the number that a canvas's bytes hold, opaque. */
export function packed(css) {
  [cell.width, cell.height] = [1, 1];
  const to = cell.getContext("2d", { willReadFrequently: true });
  to.fillStyle = css;
  to.fillRect(0, 0, 1, 1);
  const [r, g, b] = to.getImageData(0, 0, 1, 1).data;
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
