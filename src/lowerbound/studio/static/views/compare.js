import { h } from "../lib/dom.js";

export default { title: "Compare", show: async (root) => root.append(h("h1", {}, "Compare")) };
