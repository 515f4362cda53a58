// The points, many thousands: painted in turns, so that a frame waits for none of them; what is painted moves until then.

const TURN = 4; // milliseconds of one turn
const SOME = 2048; // points between two looks at the clock

/**
 * Make a painter of points: a disc for each, written into the bytes of one image, of `ratio` pixels a pixel of the page.
 * `paint(ratio, view, dots)` goes on for a turn, or to the end where `whole`, and says whether all is as the view has it.
 */
export function pointPainter(canvas) {
  let [image, pixels, work, painted] = [null, null, null, null];

  function begin(wanted) {
    const { width, height, ratio } = wanted;
    const [wide, tall] = [width, height].map((size) => Math.round(size * ratio));
    if (image?.width !== wide || image.height !== tall) {
      image = new ImageData(wide, tall);
      pixels = new Uint32Array(image.data.buffer);
    } else pixels.fill(0);
    return { wanted, next: 0, disc: stamp(ratio * wanted.radius, wide) };
  }
  function go(milliseconds) {
    const until = performance.now() + milliseconds;
    const count = work.wanted.tints.length;
    while (work.next < count) {
      const end = Math.min(count, work.next + SOME);
      discs(pixels, image, work, work.next, end);
      work.next = end;
      if (performance.now() >= until) break;
    }
    if (work.next < count) return;
    if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    [painted, work] = [work.wanted, null];
  }
  return function paint(ratio, view, { xy, tints }, whole = false) {
    const wanted = { xy, tints, ratio, width: view.width, height: view.height, x: view.x, y: view.y, scale: view.scale(), radius: radius(tints.length, view.zoom) };
    if (whole || !work) work = painted && same(painted, wanted) ? null : begin(wanted);
    if (work) go(whole ? Infinity : TURN);
    const shown = painted ?? wanted;
    const [left, top] = view.place(shown.x - shown.width / 2 / shown.scale, shown.y + shown.height / 2 / shown.scale);
    const moved = same(shown, wanted) ? "" : `translate(${left}px, ${top}px) scale(${wanted.scale / shown.scale})`;
    if (canvas.style.transform !== moved) canvas.style.transform = moved;
    return !work && same(shown, wanted);
  };
}

const same = (one, other) => Object.keys(other).every((name) => one[name] === other[name]);

/** Choose how large points are: smaller where they are many, larger where one looks closely. */
const radius = (count, zoom) => Math.min(3.2, Math.max(0.9, 90 / Math.sqrt(count + 1)) * Math.min(3, zoom ** 0.35));

/** Write the discs of some points into the bytes of an image. */
function discs(pixels, { width, height }, { wanted, disc: { reach, offsets, cover } }, from, to) {
  const { xy, tints } = wanted;
  const scale = wanted.scale * wanted.ratio;
  const [ox, oy] = [width / 2 - wanted.x * scale + 0.5, height / 2 + wanted.y * scale + 0.5];
  const [right, bottom] = [width - reach, height - reach];
  for (let i = from; i < to; i++) {
    const tint = tints[i];
    if (tint === 0) continue; // its class is hidden
    const x = Math.floor(ox + xy[2 * i] * scale);
    const y = Math.floor(oy - xy[2 * i + 1] * scale);
    if (x < reach || y < reach || x >= right || y >= bottom) continue;
    const at = y * width + x;
    for (let k = 0; k < offsets.length; k++) {
      const p = at + offsets[k];
      const a = cover[k];
      const before = pixels[p];
      if (a === 255) pixels[p] = tint;
      else if (before >>> 24 === 255) pixels[p] = mixed(before, tint, a);
      else if (before >>> 24 < a) pixels[p] = (tint & 0xffffff) | (a << 24);
    }
  }
}

const [RED_BLUE, GREEN] = [0x00ff00ff, 0x0000ff00];

function mixed(under, over, a) {
  const b = 255 - a;
  const rb = (((over & RED_BLUE) * a + (under & RED_BLUE) * b) / 255) & RED_BLUE;
  const g = (((over & GREEN) * a + (under & GREEN) * b) / 255) & GREEN;
  return 0xff000000 | rb | g;
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
