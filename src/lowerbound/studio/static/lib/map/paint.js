// What lies under the points, the density and the lines of the axes, and the words of these over them.

import { colour, packed } from "./colours.js";
import { ticks } from "./view.js";

const FONT = "12px system-ui, sans-serif";

/** Make the image of a density, and where it lies: bytes, rows upwards, in one colour that fades. */
export function densityImage({ width, height, cells, bounds }, css) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const to = canvas.getContext("2d");
  const image = to.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const tint = packed(css) & 0xffffff;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const share = cells[(height - 1 - y) * width + x] / 255;
      pixels[y * width + x] = ((Math.round(120 * share ** 0.6) << 24) | tint) >>> 0;
    }
  to.putImageData(image, 0, 0);
  return { image: canvas, bounds };
}

/** Give what draws on a canvas, empty, in the page's pixels. */
export function cleared(canvas, ratio, { width, height }) {
  const [wide, tall] = [width, height].map((size) => Math.round(size * ratio));
  if (canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
  const to = canvas.getContext("2d");
  to.setTransform(ratio, 0, 0, ratio, 0, 0);
  to.clearRect(0, 0, width, height);
  return to;
}

/** Draw the density and the lines of the axes; gives the words for them, [text, x, y, align], which `paintWords` writes. */
export function paintUnder(canvas, ratio, view, { density, axes, flat, line }) {
  const to = cleared(canvas, ratio, view);
  if (density) {
    const [left, right, low, high] = density.bounds;
    const [x, y] = view.place(left, high);
    to.drawImage(density.image, x, y, (right - left) * view.scale(), (high - low) * view.scale());
  }
  const names = [[axes[0], view.width - 8, view.height - 8, "right"], ...(line ? [] : [[axes[1], 8, 18, "left"]])];
  return [...names, ...(flat ? lines(to, view, line) : [])];
}

function lines(to, view, line) {
  const [[left, high], [right, low]] = [view.plane(0, 0), view.plane(view.width, view.height)];
  to.strokeStyle = colour("rule");
  to.lineWidth = 1;
  const across = Math.max(2, view.width / 70);
  to.beginPath();
  const words = [];
  for (const [x, text] of ticks(left, right, across)) {
    const at = Math.round(view.place(x, 0)[0]) + 0.5;
    to.moveTo(at, 0);
    to.lineTo(at, view.height);
    if (at > 30 && at < view.width - 30) words.push([text, at + 3, view.height - 24, "left"]);
  }
  for (const [y, text] of line ? [] : ticks(low, high, (across * view.height) / view.width)) {
    const at = Math.round(view.place(0, y)[1]) + 0.5;
    to.moveTo(0, at);
    to.lineTo(view.width, at);
    if (at > 34 && at < view.height - 40) words.push([text, 8, at - 4, "left"]);
  }
  to.stroke();
  return words;
}

/** Write the words of the axes over the points. */
export function paintWords(canvas, words) {
  const to = canvas.getContext("2d");
  [to.font, to.fillStyle, to.strokeStyle, to.lineWidth, to.lineJoin] = [FONT, colour("muted"), colour("card"), 4, "round"];
  for (const [text, x, y, align] of words) {
    to.textAlign = align;
    to.strokeText(text, x, y);
    to.fillText(text, x, y);
  }
}
