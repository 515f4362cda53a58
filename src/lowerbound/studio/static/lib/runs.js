// The runs in order: what the table shows of them, sorted, filtered, and those of one folder together.

/** The columns: what is sorted by, and whether it is a number. */
export const COLUMNS = [
  { key: "name", text: "Name", of: (run) => run.name },
  { key: "state", text: "State", of: (run) => run.state },
  { key: "data", text: "Data", of: (run) => run.data },
  { key: "recipe", text: "Recipe", of: (run) => run.recipe },
  { key: "beta", text: "β", of: (run) => run.beta, figure: true },
  { key: "latents", text: "Latents", of: (run) => run.latents, figure: true },
  { key: "elbo", text: "elbo", of: (run) => run.elbo, figure: true, title: "Of the held-out split in nats per example, ± the standard error over the examples" },
  { key: "rate", text: "Rate", of: (run) => run.rate, figure: true, title: "In nats per example" },
  { key: "active", text: "In use", of: (run) => run.active, figure: true, title: "Latents that the model uses; the others have collapsed to the prior" },
  { key: "when", text: "Begun", of: (run) => time(run.when)?.getTime(), figure: true },
];

/** Read a time that a run wrote, or nothing. */
export function time(text) {
  const found = new Date(String(text).replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
  return Number.isNaN(found.getTime()) ? null : found;
}

/** Keep the runs that a text, a state and data leave. */
export function filtered(runs, { q = "", state = "", data = "" }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (run) => [run.name, run.data, run.recipe, run.state].join(" ").toLowerCase();
  return runs.filter((run) => (!state || run.state === state) && (!data || run.data === data) && words.every((word) => text(run).includes(word)));
}

/** Sort runs by a column ("elbo" or, from the other end, "-elbo"); a group stands where its first run does. */
export function sorted(runs, by) {
  const [key, sign] = by.startsWith("-") ? [by.slice(1), -1] : [by, 1];
  const { of } = COLUMNS.find((column) => column.key === key) ?? COLUMNS[0];
  const value = new Map(runs.map((run) => [run, of(run) ?? null]));
  const order = (a, b) => compared(value.get(a), value.get(b), sign) || compared(a.name, b.name, 1);
  return [...grouped([...runs].sort(order), (run) => (run.group === null ? run.id : `group ${run.group}`)).values()];
}

/** Put together what has the same key, in order. */
export function grouped(all, key) {
  const found = new Map();
  for (const one of all) found.set(key(one), [...(found.get(key(one)) ?? []), one]);
  return found;
}

/** Compare two values; what is missing comes last whichever way. */
function compared(a, b, sign) {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
}
