import { h } from "../lib/dom.js";

export default { title: "Draw", show: async (root) => root.append(h("h1", {}, "Draw")) };
