// What the view around the map shows on it: z, anchors, a way, a posterior; the server says where they are in the plane.

import { newest, post } from "../api.js";

const NUMBERS = 8e4; // that one question holds

/**
 * Keep marks: `ask({here, anchors, path, posterior})` changes some of them, `place()` asks anew where all are, and
 * `done({…})` is told of each; `map()` gives the map's {plane, split} once it is there.
 */
export function makeMarks(run, map, done, failed, signal) {
  const none = { here: null, anchors: [], path: [], posterior: null };
  const asked = { ...none };
  const at = ({ plane, split }, z, sigma) => post(`/api/runs/${run}/map/project`, { plane, split, z, sigma }, signal);
  const find = {
    here: async (map, z) => z && (await at(map, [z])).xy[0],
    path: async (map, path) => (path.length ? (await at(map, thinned(path))).xy : []),
    async anchors(map, anchors) {
      const { xy } = anchors.length ? await at(map, anchors.map(({ z }) => z)) : { xy: [] };
      return anchors.map(({ name = "" }, i) => ({ name, xy: xy[i] }));
    },
    async posterior(map, q) {
      if (!q) return null;
      const { xy, ellipse } = await at(map, [q.mu], [q.sigma]);
      return { xy: xy[0], ellipse: ellipse?.[0], name: q.name };
    },
  };
  const asks = Object.fromEntries(Object.keys(none).map((name) =>
    [name, newest((map) => find[name](map, asked[name]), (found, of) => of === map() && done({ [name]: found }), failed)]));
  const ask = (names) => map() && names.forEach((name) => asks[name](map()));
  return {
    asked,
    clear: () => done({ ...none }),
    place: () => ask(Object.keys(none)),
    ask: (what) => (Object.assign(asked, what), ask(Object.keys(what))),
  };
}

/** Choose so many of a way's places that one question holds them, evenly, the last among them. */
function thinned(path) {
  const most = Math.min(960, Math.floor(NUMBERS / path[0].length));
  const step = (path.length - 1) / (most - 1);
  return path.length <= most ? path : Array.from({ length: most }, (_, i) => path[Math.round(i * step)]);
}
