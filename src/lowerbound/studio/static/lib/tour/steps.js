// The steps of the tour: what each says, its formulas, and what it shows of the walk {picture, mu, sigma, eps, z, image, …}.

import { fill, h, number } from "../dom.js";
import { latentMap } from "../map.js";
import { formula } from "../math.js";
import { images, picture, slider } from "../parts.js";
import { EPS, MU, NOISE, PLACED, RATE, RATES, SIGMA, SPREAD, Z, costs, latents } from "../posterior.js";
import { sweep } from "./beta.js";

const p = (...children) => h("p", {}, children);
const formulas = (...texts) => h("div", { class: "formulas", role: "group", tabindex: 0, "aria-label": "The formula" }, texts.map((text) => formula(text)));
const shown = (name, width, pixels = 168) => images(name, { scale: Math.max(1, Math.floor(pixels / width)) });

/** The buttons that draw ε anew, and the slider that stretches it. */
function chance({ again, stretch, strength }, both = true) {
  return h("div", {}, h("div", { class: "row" }, h("button", { type: "button", onclick: again }, "Draw ε again")),
    both ? slider("ε times", { min: 0, max: 2, step: 0.05, value: strength(), change: stretch, title: "0 takes the chance out, 1 is the model, 2 is twice as much" }) : null);
}

export const STEPS = [
  {
    name: "Draw", title: "1. Draw a picture",
    make({ info, easel }) {
      const size = info.width * info.height * info.channels;
      return {
        element: [
          p(`${info.digits ? "Draw a digit" : "Draw a picture of the kind that the model has learned"}${info.rows ? `, or take one of the ${info.split} images` : ""}. All that follows is about your picture.`),
          p(`To the model it is a list of ${number(size, 0)} numbers, called x: one for each pixel${info.channels === 3 ? " and colour" : ""}, 0 where it is dark and 1 where it is bright.`),
          formulas(`x = ( x_1 , x_2 , … , x_{${size}} )`), easel,
        ],
        draw() {},
      };
    },
  },
  {
    name: "Encode", title: "2. Encode: what the model makes of it",
    make({ run, count }) {
      const bars = latents([SPREAD, MU, SIGMA]);
      const map = count === 2 ? latentMap(run) : null;
      return {
        element: [
          p(`A network, the encoder, looks at your picture and sums it up in ${count} numbers, the latents. Think of them as dials, for slant or for thickness: what each is for, the model has found out by itself.`),
          p("It does not name one setting for a dial but a range. μ is its middle, the best guess. σ is its width: the smaller, the surer. A dial at μ = 0 with σ = 1 says nothing about your picture, since without looking the model would have guessed just that."),
          formulas("q ( z | x ) = N ( μ , σ^2 )", "σ = exp( ½ log σ^2 )"), bars,
          map && [h("h3", {}, "On the map of both latents"), p("Each point is an image that the model was not trained on. The cross is μ of your picture, the ellipse its σ."), map],
        ],
        draw(found) {
          bars.show(found);
          map?.posterior({ mu: found.mu, sigma: found.sigma, name: "yours" });
        },
        close: () => map?.close(),
      };
    },
  },
  {
    name: "Chance", title: "3. Chance: draw ε",
    make({ tools }) {
      const bars = latents([NOISE, EPS]);
      return {
        element: [
          p("Now a die is thrown for each dial: a random number ε, most often between −2 and 2, around 0. It knows nothing of your picture: draw again, and all of them are others."),
          p("Why chance? The model must learn that pictures whose dials stand nearly alike look nearly alike. So in training it never sees the same setting twice."),
          formulas("ε ∼ N ( 0 , I )"), chance(tools, false), bars,
        ],
        draw: bars.show,
      };
    },
  },
  {
    name: "Code", title: "4. The code: z = μ + σ ⊙ ε",
    make({ tools }) {
      const bars = latents([PLACED, MU, SIGMA, EPS, Z]);
      return {
        element: [
          p("The dials are set: each to its middle, moved by its chance times its width. Where the model is sure, chance does little. That setting is the code, z: the second mark on each line, in another colour."),
          p("The slider stretches the chance: at 0 the code is the middle itself, at 2 it strays twice as far as it should."),
          formulas("z = μ + σ ⊙ ε"), chance(tools), bars,
        ],
        draw: bars.show,
      };
    },
  },
  {
    name: "Decode", title: "5. Decode: a picture from the code",
    make({ tools, info, count }) {
      const [given, back] = [shown("Your picture", info.width), shown("What z decodes to", info.width)];
      return {
        element: [
          p(`A second network, the decoder, has never seen your picture. It gets the ${count} numbers of z and paints what they describe: for each pixel how bright it should be.`),
          p("Draw ε again: it stays nearly the same picture, if the model has learned well. Stretch ε to 2, and it goes astray."),
          formulas("z ↦ p ( x | z )"), chance(tools),
          h("div", { class: "trio" }, picture(given, "your picture, x", "x"), picture(back, "decoded from z", "decoded")),
        ],
        draw(found) {
          given.draw(found.picture);
          back.draw(found.image);
        },
      };
    },
  },
  {
    name: "Costs", title: "6. What it costs: distortion and rate",
    make({ tools, info }) {
      const [given, back, heat] = [shown("Your picture", info.width, 112), shown("What z decodes to", info.width, 112), shown("Which pixels cost most: the bright ones", info.width, 112)];
      const bars = latents([RATES, RATE, MU, SIGMA]);
      const [numbers, dearest] = [h("div"), h("p", { class: "note" })];
      return {
        element: [
          p("Distortion: how badly the picture came back. Every pixel pays for how surprising your pixel is to what was painted, and bright places in the third picture paid most."),
          p("Rate: how much the code says about your picture. Every dial pays for being moved away from where it stands without looking: middle 0, width 1. A dial that says nothing costs nothing."),
          p("Both are counted in nats (1 nat is 1.44 bits). Training makes their sum small, which is to make the elbo large."),
          h("div", { class: "trio" }, picture(given, "x", "x"), picture(back, "decoded from z", "decoded"), picture(heat, "what each pixel costs", "distortion")),
          dearest, numbers,
          formulas("distortion = − log p ( x | z ) = Σ_i − log p ( x_i | z )", "rate = KL( q ( z | x ) ∥ p ( z ) ) = − ½ Σ_j ( 1 + log σ_j^2 − μ_j^2 − σ_j^2 )", "elbo = − ( distortion + rate )", "E( elbo ) ≤ log p ( x )"),
          p("The elbo of one throw of ε changes with it; on average over all throws it is at most log p(x), what the model thinks of your picture as a whole."),
          info.cost ? h("p", { class: "note" }, `Here the distortion is ${info.cost}.`) : null,
          chance(tools), h("h3", {}, "The rate, dial by dial"), bars,
        ],
        draw(found) {
          given.draw(found.picture);
          back.draw(found.image);
          heat.closest("figure").hidden = !found.heat;
          if (found.heat) heat.draw(found.heat);
          fill(dearest, found.dearest === null ? "" : `The dearest pixel costs ${number(found.dearest)} nats.`);
          fill(numbers, costs(found));
          bars.show(found);
        },
      };
    },
  },
  { name: "β", title: "7. β: what if saying something were dearer?", make: sweep },
];
