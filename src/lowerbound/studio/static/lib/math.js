// Formulas as MathML, which browsers set and read aloud: formula("z = μ + σ ⊙ ε"), formula("σ = exp( ½ log σ^2 )").
// Words are separated by spaces; a_b, a^b and a_b^c have indices, whose groups stand in braces: z_{ij}^2.

const SPACE = "http://www.w3.org/1998/Math/MathML";
const OPERATORS = /^[=+−⊙∥()[\]|,~∼≥≤≈·:→↦Σ∑½]$/u;

function m(tag, ...children) {
  const element = document.createElementNS(SPACE, tag);
  element.append(...children);
  return element;
}

/** Make a formula; `block` sets it on a line of its own. */
export function formula(text, { block = true } = {}) {
  const math = m("math", m("mrow", ...text.trim().split(/\s+/).map(word)));
  if (block) math.setAttribute("display", "block");
  return math;
}

function word(text) {
  const [, base, below, above] = text.match(/^([^_^]+)(?:_(\{[^}]*\}|[^^]+))?(?:\^(\{[^}]*\}|.+))?$/u);
  const inner = (group) => m("mrow", ...group.replace(/^\{|\}$/g, "").split(" ").map(leaf));
  if (below && above) return m("msubsup", leaf(base), inner(below), inner(above));
  if (below) return m("msub", leaf(base), inner(below));
  return above ? m("msup", leaf(base), inner(above)) : leaf(base);
}

function leaf(text) {
  if (/^[0-9.]+$/.test(text)) return m("mn", text);
  if (OPERATORS.test(text) || /^(exp|log|KL|E)\($/.test(text)) return m("mo", text);
  return m(/^[A-Za-z]{2,}$/.test(text) ? "mtext" : "mi", text);
}
