// Mouse, touch and keys on the map. Hover moves, a click picks, a drag pans; on touch one finger moves, two pan and zoom.

const SLACK = 5; // pixels that a click may slip
const STEP = 14; // pixels of an arrow key

/** Listen on an element; `does` has move(x, y), pick(x, y), pan(dx, dy), zoom(factor, x, y), reset(), cursor(dx, dy), enter(), left(). */
export function hands(element, does, signal) {
  const down = new Map();
  let slipped = 0;
  const on = (name, call, more = {}) => element.addEventListener(name, call, { signal, ...more });
  const at = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left - element.clientLeft, event.clientY - box.top - element.clientTop];
  };

  on("pointerdown", (event) => {
    if (event.button > 0) return;
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    slipped = down.size > 1 ? Infinity : 0;
    if (event.pointerType !== "mouse" && down.size === 1) does.move(...at(event));
  });
  on("pointermove", (event) => {
    const [x, y] = at(event);
    const before = down.get(event.pointerId);
    if (!before) return event.pointerType === "mouse" && does.move(x, y);
    const [dx, dy] = [x - before[0], y - before[1]];
    slipped += Math.hypot(dx, dy);
    if (down.size === 2) pinch(event.pointerId, before, [x, y]);
    else if (event.pointerType === "mouse" && slipped > SLACK) does.pan(dx, dy);
    else if (event.pointerType !== "mouse") does.move(x, y);
    down.set(event.pointerId, [x, y]);
  });
  function pinch(id, before, now) {
    const other = [...down].find(([name]) => name !== id)[1];
    const apart = (a) => Math.max(1, Math.hypot(a[0] - other[0], a[1] - other[1]));
    const middle = (a) => [(a[0] + other[0]) / 2, (a[1] + other[1]) / 2];
    const [from, to] = [middle(before), middle(now)];
    does.pan(to[0] - from[0], to[1] - from[1]);
    does.zoom(apart(now) / apart(before), ...to);
  }
  const up = (event) => {
    const was = down.delete(event.pointerId);
    if (was && event.type === "pointerup" && slipped <= SLACK && down.size === 0) does.pick(...at(event));
  };
  on("pointerup", up);
  on("pointercancel", up);
  on("pointerleave", () => does.left()); // a finger leaves when it is lifted
  on("blur", () => does.left());
  on("wheel", (event) => {
    event.preventDefault();
    does.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.0016)), ...at(event));
  }, { passive: false });
  on("keydown", (event) => {
    const key = keys(does)[event.key];
    if (!key || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    key(event.shiftKey);
  });
}

const keys = (does) => {
  const arrow = (dx, dy) => (shift) => (shift ? does.pan(-4 * dx, -4 * dy) : does.cursor(dx, dy));
  return {
    ArrowLeft: arrow(-STEP, 0), ArrowRight: arrow(STEP, 0), ArrowUp: arrow(0, -STEP), ArrowDown: arrow(0, STEP),
    "+": () => does.zoom(1.3), "=": () => does.zoom(1.3), "-": () => does.zoom(1 / 1.3), "0": () => does.reset(),
    Enter: () => does.enter(), Escape: () => does.left(),
  };
};
