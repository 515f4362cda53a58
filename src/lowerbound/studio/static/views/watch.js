import { h } from "../lib/dom.js";

export default { title: "Watch", show: async (root) => root.append(h("h1", {}, "Watch")) };
