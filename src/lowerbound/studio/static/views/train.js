import { h } from "../lib/dom.js";

export default { title: "Train", show: async (root) => root.append(h("h1", {}, "Train")) };
