// A trained model under one's hand.

import { href, remember } from "../lib/address.js";
import { get, newest, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { images, loading, picture, slider, tabs } from "../lib/parts.js";

export default {
  title: "Explore",
  show: (root, address, signal) =>
    loading(root, "Opening the model …", () => get(`/api/runs/${address.run}/model`, {}, signal), (model) => page(address, model)),
};

function page({ run, state }, model) {
  const z = state.z ? state.z.split(",").map(Number) : model.latents.map(() => 0);
  const canvas = images("The image that these latents decode to", { scale: 10 });
  const decode = newest((z) => post(`/api/runs/${run}/decode`, { z: [z] }), (sheet) => canvas.draw(sheet));
  const sliders = model.latents.map(({ latent, kl }) =>
    slider(`z${latent}`, { min: -4, max: 4, value: z[latent], title: kl === null ? undefined : `${kl.toFixed(2)} nats`, change(value) {
      z[latent] = value;
      remember({ z: z.join(",") });
      decode([...z]);
    } }));
  decode([...z]);
  return [tabs(run, "explore", href), h("h1", {}, "Explore"), h("div", { class: "columns" }, h("div", {}, sliders), picture(canvas, model.note, "decoded"))];
}
