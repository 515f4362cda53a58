// The map as one picture: its layers on the card's colour, the legend under them.

import { colour } from "./colours.js";

const FONT = "13px system-ui, sans-serif";

/** Give the PNG of canvases that lie on one another, with a legend of [name, colour] and a title. */
export function mapPicture(layers, ratio, legend, title) {
  const [width, height] = [layers[0].width / ratio, layers[0].height / ratio];
  const canvas = document.createElement("canvas");
  const to = canvas.getContext("2d");
  to.font = FONT;
  const rows = wrapped(to, legend, width);
  [canvas.width, canvas.height] = [layers[0].width, (height + 34 + 22 * rows.length) * ratio];
  to.fillStyle = colour("card");
  to.fillRect(0, 0, canvas.width, canvas.height);
  layers.forEach((layer) => to.drawImage(layer, 0, 0, layers[0].width, layers[0].height));
  to.setTransform(ratio, 0, 0, ratio, 0, 0);
  to.font = FONT;
  rows.forEach((row, r) => row.forEach(({ x, name, css }) => {
    const y = height + 20 + 22 * r;
    to.fillStyle = css;
    to.beginPath();
    to.arc(x + 6, y - 4, 5, 0, 2 * Math.PI);
    to.fill();
    to.fillStyle = colour("ink");
    to.fillText(name, x + 16, y);
  }));
  to.fillStyle = colour("muted");
  to.fillText(title, 10, height + 20 + 22 * rows.length, width - 20);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function wrapped(to, legend, width) {
  const rows = [];
  let x = Infinity;
  for (const [name, css] of legend) {
    const wide = to.measureText(name).width + 34;
    if (x + wide > width) {
      rows.push([]);
      x = 10;
    }
    rows.at(-1).push({ x, name, css });
    x += wide;
  }
  return rows;
}
