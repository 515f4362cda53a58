// What lies still: the density, the lines behind the map, and the points, each drawn once for a view.

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

/** Draw the density and the lines of the axes; gives the words for them, [text, x, y, align], which `paintWords` writes. */
export function paintUnder(canvas, ratio, view, { density, axes, flat, line }) {
  const to = canvas.getContext("2d");
  to.setTransform(ratio, 0, 0, ratio, 0, 0);
  to.clearRect(0, 0, view.width, view.height);
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

/** A painter of points: a disc for each, written into the bytes of one image, of `ratio` pixels a pixel of the page. */
export function pointPainter(canvas) {
  let image = null;
  let pixels = null;
  return function paint(ratio, view, { xy, tints }) {
    const [width, height] = [view.width, view.height].map((size) => Math.round(size * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const to = canvas.getContext("2d");
    if (!image || image.width !== width || image.height !== height) {
      image = to.createImageData(width, height);
      pixels = new Uint32Array(image.data.buffer);
    } else pixels.fill(0);
    const n = tints.length;
    const radius = ratio * Math.min(3.2, Math.max(0.9, 90 / Math.sqrt(n + 1)) * Math.min(3, view.zoom ** 0.35));
    const { reach, offsets, cover } = stamp(radius, width);
    const scale = view.scale() * ratio;
    const [ox, oy] = [(width / 2) - view.x * scale, (height / 2) + view.y * scale];
    const [right, bottom] = [width - reach, height - reach];
    for (let i = 0; i < n; i++) {
      const tint = tints[i];
      if (tint === 0) continue; // its class is hidden
      const x = (ox + xy[2 * i] * scale + 0.5) | 0;
      const y = (oy - xy[2 * i + 1] * scale + 0.5) | 0;
      if (x < reach || y < reach || x >= right || y >= bottom) continue;
      const at = y * width + x;
      for (let k = 0; k < offsets.length; k++) {
        const p = at + offsets[k];
        const a = cover[k];
        if (a === 255) pixels[p] = tint;
        else if (pixels[p] >>> 24 === 255) pixels[p] = mixed(pixels[p], tint, a);
        else if (pixels[p] >>> 24 < a) pixels[p] = ((tint & 0xffffff) | (a << 24)) >>> 0;
      }
    }
    to.putImageData(image, 0, 0);
  };
}

function mixed(under, over, a) {
  const [even, odd] = [0x00ff00ff, 0x0000ff00];
  const b = 255 - a;
  const rb = ((((over & even) * a + (under & even) * b) / 255) & even) >>> 0;
  const g = ((((over & odd) * a + (under & odd) * b) / 255) & odd) >>> 0;
  return (0xff000000 | rb | g) >>> 0;
}

/** Which bytes a disc covers, from its middle, and how much of each. */
function stamp(radius, width) {
  const reach = Math.ceil(radius);
  const [offsets, cover] = [[], []];
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) {
      const share = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
      if (share > 0.05) {
        offsets.push(y * width + x);
        cover.push(Math.round(255 * share));
      }
    }
  return { reach, offsets: Int32Array.from(offsets), cover: Uint8Array.from(cover) };
}
