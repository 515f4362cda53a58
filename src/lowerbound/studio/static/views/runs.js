// The runs of the folder.

import { href } from "../lib/address.js";
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { loading } from "../lib/parts.js";

export default {
  title: "Runs",
  show: (root, address, signal) => loading(root, "Reading the runs …", () => get("/api/runs", {}, signal), table),
};

function table({ folder, runs }) {
  return [
    h("h1", {}, "Runs"),
    h("p", { class: "note" }, `In ${folder}`),
    h("table", {}, h("tbody", {}, runs.map((run) =>
      h("tr", {}, h("td", {}, h("a", { href: href("explore", run.id) }, run.name)), h("td", {}, run.data), h("td", {}, run.state))))),
  ];
}
