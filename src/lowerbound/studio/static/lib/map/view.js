// Which part of the plane is seen: x and y at the middle, and how many pixels one unit has, the same for both.

const MOST = 400; // how far one can zoom in
const LEAST = 0.7; // and out: as far as densities reach

/** A view of bounds [left, right, low, high] in a stage of some size: `place` gives pixels, `plane` the way back. */
export function makeView() {
  const view = { width: 1, height: 1, x: 0, y: 0, zoom: 1, fit: 1, home: [0, 0] };

  view.show = ([left, right, low, high], kept) => {
    view.bounds = [left, right, low, high];
    view.home = [(left + right) / 2, (low + high) / 2];
    view.resize(view.width, view.height);
    view.reset();
    if (kept) [view.zoom, view.x, view.y] = [clamp(kept[0]), kept[1], kept[2]];
  };
  view.resize = (width, height) => {
    [view.width, view.height] = [width, height];
    if (!view.bounds) return;
    const [left, right, low, high] = view.bounds;
    view.fit = Math.min(width / (right - left), height / (high - low));
  };
  view.reset = () => ([view.zoom, view.x, view.y] = [1, ...view.home]);
  view.scale = () => view.fit * view.zoom;
  view.place = (x, y) => [view.width / 2 + (x - view.x) * view.scale(), view.height / 2 - (y - view.y) * view.scale()];
  view.plane = (px, py) => [view.x + (px - view.width / 2) / view.scale(), view.y - (py - view.height / 2) / view.scale()];
  view.pan = (dx, dy) => {
    view.x -= dx / view.scale();
    view.y += dy / view.scale();
  };
  view.zoomAt = (factor, px = view.width / 2, py = view.height / 2) => {
    const [x, y] = view.plane(px, py);
    view.zoom = clamp(view.zoom * factor);
    const [nx, ny] = view.place(x, y);
    view.pan(px - nx, py - ny);
  };
  view.kept = () => (view.zoom === 1 && view.x === view.home[0] && view.y === view.home[1] ? undefined : [view.zoom, view.x, view.y].map((v) => Number(v.toPrecision(4))).join(","));
  return view;
}

const clamp = (zoom) => Math.min(MOST, Math.max(LEAST, zoom));

/** Read what `kept` gave, as it stands in the URL. */
export function readView(text) {
  const numbers = (text ?? "").split(",").map(Number);
  return numbers.length === 3 && numbers.every(Number.isFinite) && numbers[0] > 0 ? numbers : null;
}

/** Round places for the lines behind the map: about `count` between two ends. */
export function ticks(from, to, count) {
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let k = Math.ceil(from / step); k * step <= to; k++) found.push([k * step, (k * step).toFixed(digits).replace("-", "−")]);
  return found;
}
