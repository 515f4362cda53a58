// What the view around the map shows on it: z, anchors, a way, a posterior; the server says where they are in the plane.

import { newest, post } from "../api.js";
import { thinned } from "./load.js";

/** Keep marks: `ask({here, anchors, path, posterior})` changes them, `place()` asks where they are and gives `done(over)`. */
export function makeMarks(run, plane, done, failed, signal) {
  const asked = { here: null, anchors: [], path: [], posterior: null };
  const at = (z, sigma) => post(`/api/runs/${run}/map/project`, { ...plane(), z, sigma }, signal);
  const newer = newest(async () => {
    const { here, anchors, path, posterior } = asked;
    const first = here ?? anchors[0]?.z ?? path[0];
    const most = first ? Math.min(960, Math.floor(8e4 / first.length)) : 0; // what one question holds
    const z = [...(here ? [here] : []), ...anchors.map((one) => one.z), ...thinned(path, most)];
    const { xy } = z.length ? await at(z) : { xy: [] };
    const q = posterior ? await at([posterior.mu], [posterior.sigma]) : null;
    const [cross, places] = [here ? xy.shift() : null, anchors.map(({ name = "" }) => ({ name, xy: xy.shift() }))];
    return { here: cross, anchors: places, path: xy, posterior: q && { xy: q.xy[0], ellipse: q.ellipse?.[0], name: posterior.name } };
  }, done, failed);
  const place = () => plane() && newer();
  return { asked, place, ask: (what) => (Object.assign(asked, what), place()) };
}
