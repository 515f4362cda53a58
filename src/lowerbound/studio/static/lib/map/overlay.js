// What moves over the points: the way, the anchors, the posterior, the cross of z and the keyboard's.

import { colour } from "./colours.js";
import { cleared } from "./paint.js";

/** Draw all of it anew: it is little. */
export function paintOver(canvas, ratio, view, { here, anchors, path, posterior, cursor, near }) {
  const to = cleared(canvas, ratio, view);
  to.font = "600 13px system-ui, sans-serif";
  to.lineJoin = to.lineCap = "round";
  const [ink, card, accent, second] = ["ink", "card", "accent", "second"].map(colour);
  const twice = (shape, css, width = 2) => {
    for (const [style, wide] of [[card, width + 3], [css, width]]) {
      to.strokeStyle = style;
      to.lineWidth = wide;
      to.beginPath();
      shape();
      to.stroke();
    }
  };
  if (path?.length > 1) twice(() => path.forEach((xy, i) => to[i ? "lineTo" : "moveTo"](...view.place(...xy))), accent, 2.5);
  if (posterior) gaussian(to, view, posterior, (shape) => twice(shape, second), second);
  if (near) twice(() => circle(to, view.place(...near), 6), ink, 1.5);
  anchors?.forEach(({ xy, name }) => {
    const [x, y] = view.place(...xy);
    twice(() => circle(to, [x, y], 7), accent, 2.5);
    text(to, name, x + 11, y + 5, ink, card);
  });
  if (here) twice(() => cross(to, view.place(...here), 9), second, 2.5);
  if (cursor) twice(() => (cross(to, view.place(...cursor), 14), circle(to, view.place(...cursor), 14)), ink, 1.5);
}

const circle = (to, [x, y], r) => (to.moveTo(x + r, y), to.arc(x, y, r, 0, 2 * Math.PI));

function cross(to, [x, y], r) {
  to.moveTo(x - r, y);
  to.lineTo(x + r, y);
  to.moveTo(x, y - r);
  to.lineTo(x, y + r);
}

function text(to, words, x, y, ink, card) {
  to.textAlign = "left";
  to.strokeStyle = card;
  to.lineWidth = 4;
  to.strokeText(words, x, y);
  to.fillStyle = ink;
  to.fillText(words, x, y);
}

/** Draw a Gaussian by its ellipses of one and two σ; of a place without spread the place alone. */
function gaussian(to, view, { xy, ellipse, name }, twice, css) {
  const [x, y] = view.place(...xy);
  if (ellipse) {
    const [a, b, angle] = ellipse;
    for (const sigmas of [1, 2]) {
      const [wide, tall] = [a, b].map((half) => Math.max(1.5, half * sigmas * view.scale()));
      twice(() => to.ellipse(x, y, wide, tall, -angle, 0, 2 * Math.PI));
    }
  }
  to.fillStyle = css;
  to.beginPath();
  to.arc(x, y, 4, 0, 2 * Math.PI);
  to.fill();
  if (name) text(to, name, x + 9, y - 9, colour("ink"), colour("card"));
}
