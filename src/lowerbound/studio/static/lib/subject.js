// The picture that a view is about: drawn, uploaded, pasted, dropped, or taken from the held-out images.
//   const it = subject(run, easelInfo, {state, mask, changed: ({id, picture, notes}) => …, failed});
// A drawing is kept for the session as it was drawn, with what is hidden, so that a reload has it; a held-out image
// stands in the URL by its row.

import { remember } from "./address.js";
import { newest, post, upload } from "./api.js";
import { fill, h, say } from "./dom.js";
import { easel } from "./easel.js";

const KEPT = "lowerbound.drawing";

/** Make the easel of a run with all the ways to get a picture onto it; `info` is of /api/runs/{run}/easel. */
export function subject(run, info, { state, signal, mask = false, example, changed, failed, hidden }) {
  let source = { kind: "canvas" };
  const kept = session();
  const own = kept?.width === info.width && kept?.height === info.height && kept?.channels === info.channels ? kept : null;
  let saved = own?.address ? { address: own.address, centre: own.centre, plain: own.plain } : null;
  const board = easel({ ...info, mask, changed: drawn, chosen: keep });
  const notes = h("p", { class: "note", role: "status" });
  const centre = h("input", { type: "checkbox", checked: own?.centre ?? info.digits, onchange: () => { source.plain = false; if (saved) saved.centre = centre.checked; keep(); take(); } });
  const invert = h("select", { onchange: () => take() },
    [["auto", "if it looks the other way round"], ["yes", "always"], ["no", "never"]].map(([value, name]) => h("option", { value }, name)));
  const inverted = h("label", { class: "choice", hidden: true }, "Swap dark and light", invert);
  const row = h("input", { type: "number", min: 0, max: Math.max(0, info.rows - 1), value: state.row ?? "", placeholder: "0", onchange: () => row.value !== "" && held(Number(row.value)) });
  const file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif,image/bmp", class: "unseen", onchange: () => { taken(file.files); file.value = ""; } });

  const ask = newest(async () => {
    if (source.kind === "row") return post(`/api/runs/${run}/held`, { row: source.row });
    const centred = centre.checked && !source.plain;
    if (source.kind === "settled") return upload("/api/images", source.blob, { run, invert: "no", centre: centred });
    if (source.kind === "file") return upload("/api/images", source.blob, { run, invert: source.plain ? "no" : invert.value, centre: centred });
    return board.empty ? null : upload("/api/images", await board.blob(), { run, invert: "no", centre: centre.checked });
  }, async (found) => {
    if (signal.aborted) return;
    fill(notes, found ? [found.label ? `A ${info.split} image of the class ${found.label}. ` : "", found.notes.join(" ")] : "");
    if (found && source.kind !== "canvas") await board.load(found.picture.sheet, { keep: false });
    if (found && source.kind === "file") {
      saved = { address: found.picture.sheet, centre: centre.checked, plain: true }; // as it was read: nothing is to be done to it again
      keep();
    }
    changed(found);
  }, (error) => {
    source = { kind: "canvas" };
    inverted.hidden = true;
    failed(error);
  });
  const take = () => ask(source);

  async function drawn(what) {
    if (what.hidden) {
      if (what.done) {
        await settle();
        keep();
      }
      hidden?.();
      return;
    }
    if (source.kind !== "canvas") {
      if (source.kind !== "row" && !what.undone && !board.empty) centre.checked = false; // what is drawn over is centred already
      source = { kind: "canvas" };
      row.value = "";
      inverted.hidden = true;
      remember({ row: null });
    }
    if (what.done) {
      saved = board.empty ? null : { address: board.address(), centre: centre.checked };
      keep();
    }
    take();
    hidden?.();
  }

  /** What is hidden is hidden of the image that the model sees: put that onto the easel. The drawing is kept as it was. */
  async function settle() {
    if (source.kind !== "canvas" || !centre.checked || board.empty) return;
    saved = { address: board.address(), centre: true };
    source = { kind: "settled", blob: await board.blob() };
    take();
  }

  function held(number) {
    source = { kind: "row", row: Math.min(Math.max(0, Math.floor(number)), info.rows - 1) };
    row.value = source.row;
    inverted.hidden = true;
    remember({ row: source.row });
    board.unhide();
    keep();
    take();
    hidden?.();
  }

  function given(blob) {
    source = { kind: "file", blob };
    row.value = "";
    inverted.hidden = info.channels !== 1;
    remember({ row: null });
    board.unhide();
    say("The picture is being read");
    take();
    hidden?.();
  }

  function keep() {
    const { width, height, channels } = info;
    try {
      const of = source.kind === "row" ? source.row : null;
      sessionStorage.setItem(KEPT, JSON.stringify({ width, height, channels, ...saved, of, hidden: board.mask(), tool: board.tool }));
    } catch {
      // a drawing too large for the browser's store is kept by nothing
    }
  }

  function unhide() {
    board.unhide();
    keep();
    hidden?.();
  }

  function taken(files) {
    if (!files?.length) return;
    const blob = [...files].find((one) => one.type.startsWith("image/"));
    if (blob) given(blob);
    else failed(new Error("This is no picture: take a PNG, JPEG, WebP, GIF or BMP."));
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) event.preventDefault();
    taken(event.clipboardData?.files);
  }, { signal });
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => { // beside the easel, too: the browser would leave the page for the file
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (name === "drop") taken(event.dataTransfer.files);
  }, { signal });
  const element = h("div", { class: "subject" }, board.element, notes,
    h("div", { class: "row" },
      h("button", { type: "button", class: "quiet", onclick: () => file.click() }, "Upload a picture"), file,
      info.rows ? [h("label", { class: "choice" }, `or ${info.split} image`, row),
        h("button", { type: "button", class: "quiet", onclick: () => held(Math.floor(Math.random() * info.rows)) }, "Any")] : null),
    h("div", { class: "row" },
      info.channels === 1 ? h("label", { class: "choice" }, centre, "Centre and scale it, as the digits of MNIST are") : null, inverted),
    h("p", { class: "note" }, "A picture can also be pasted, or dropped on this page. It stays on this machine."));
  file.setAttribute("tabindex", "-1");
  file.setAttribute("aria-label", "A picture's file");

  /** Begin with the row of the URL, with what was drawn before, or with an example where one is asked for. */
  async function start() {
    if (own?.tool) board.tool = own.tool;
    if (state.row !== undefined && info.rows) held(Number(state.row) || 0);
    else if (saved?.plain) source = { kind: "file", blob: pictureOf(saved.address), plain: true };
    else if (saved) await board.load(saved.address, { keep: false }).catch(() => {});
    else if (example !== undefined && info.rows) held(example);
    if (mask && own?.hidden && own.of === (source.row ?? null)) {
      board.cover(own.hidden);
      await settle();
      keep();
    }
    take();
    hidden?.();
  }
  return { element, board, held, start, unhide, again: take, get row() { return source.kind === "row" ? source.row : null; } };
}

/** Give the file of a data address. */
const pictureOf = (address) => new Blob([Uint8Array.from(atob(address.split(",")[1]), (letter) => letter.charCodeAt(0))]);

function session() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  } catch {
    return null;
  }
}
