import { h } from "../lib/dom.js";

export default { title: "Tour", show: async (root) => root.append(h("h1", {}, "Tour")) };
