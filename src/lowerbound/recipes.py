"""Published models as data: what each sets over the default spec, where it was published, and what to expect of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lowerbound.errors import UsageError, nearest
from lowerbound.spec import Spec, describe, merge

CONV_CHANNELS = (32, 64, 128, 256, 256, 256)
FEWEST_STEPS = 1000  # of a training for which nobody said how long it shall be
BETA = {"kl": "weight", "free-bits": "weight", "decomposed": "tc"}  # kind of a term -> its argument that is β
SQUARED = {"kind": "gaussian", "sigma": 0.5**0.5}  # -log p(x|z) is then the squared error and a constant


@final
@dataclass(frozen=True)
class Recipe:
    """A published model as arguments.

    Arguments:
        about: what it is, in a line.
        citation: where it was published.
        sets: what it sets over the default spec.
        expect: a published figure with its source, or what was measured here.
    """

    about: str
    citation: str
    sets: Mapping[str, Any] = field(default_factory=dict)
    expect: str = ""


def _terms(**terms: Any) -> dict[str, Any]:
    """Set terms of the elbo by name; None takes one away."""
    return {"objective": {"terms": {name.replace("_", "-"): term for name, term in terms.items()}}}


def _importance(**arguments: Any) -> dict[str, Any]:
    return {"objective": {"kind": "importance", **arguments}}


def _point(likelihood: Mapping[str, Any] | None = None, **terms: Any) -> dict[str, Any]:
    """Set an autoencoder: one code for each input, a likelihood, and some terms in place of the KL."""
    given = {} if likelihood is None else {"likelihood": dict(likelihood)}
    return {"model": {"posterior": {"kind": "dirac"}, **given}, **_terms(**{"kl": None, **terms})}


RECIPES: dict[str, Recipe] = {
    "vae": Recipe(
        "the variational autoencoder: the elbo itself, β = 1",
        "Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014",
        expect="log p(x) of about −86.8 nats on dynamically binarised MNIST for a network 784-200-200-50 after 3,280 "
        "epochs (Burda et al. 2016, Table 1). The default here is a short training on grey MNIST: see "
        "benchmarks/README.md.",
    ),
    "beta-vae": Recipe(
        "the rate is weighted by β, which is 4 where nothing else is said",
        "Higgins et al., β-VAE: learning basic visual concepts with a constrained variational framework, ICLR 2017",
        _terms(kl={"weight": 4.0}),
        "a lower rate and a higher distortion: after 200 steps on MNIST 5.4 and 156.9 nats, where the VAE has 13.4 "
        "and 147.7.",
    ),
    "annealed-vae": Recipe(
        "the rate is held at a capacity that grows from 0 to 25 nats, by γ = 100 where the paper has 1,000: in short "
        "trainings on small images that drowns the gradient of the distortion",
        "Burgess et al., Understanding disentangling in β-VAE, 2018",
        _terms(
            kl=None,
            capacity={
                "kind": "capacity",
                "weight": 100.0,
                "capacity": {"kind": "linear", "start": 0.0, "end": 25.0, "until": 0.5},
            },
        ),
        "a rate that follows the capacity: 24.9 nats at the end of 200 steps on MNIST, for the 25 that were asked for.",
    ),
    "control-vae": Recipe(
        "β is moved by a controller until the rate is the 20 nats that are asked for; K_i is ten times the paper's, "
        "whose trainings are longer",
        "Shao et al., ControlVAE: controllable variational autoencoder, ICML 2020",
        _terms(kl={"kind": "kl", "weight": {"kind": "control", "rate": 20.0, "ki": 0.001}}),
        "the rate that was asked for: 19.94 ± 0.04 nats on the test images of MNIST, after the default training.",
    ),
    "geco": Recipe(
        "the least rate at a distortion of 80 nats, a number for MNIST: λ, the weight of the distortion, is moved "
        "until it is reached",
        "Rezende and Viola, Taming VAEs, 2018",
        _terms(distortion={"kind": "distortion", "weight": {"kind": "geco", "distortion": 80.0}}),
        "the distortion that was asked for: 79.7 ± 0.2 nats on the test images of MNIST, at a rate of 23.0, after the "
        "default training. On other data ask for another number.",
    ),
    "cyclic-vae": Recipe(
        "β rises from 0 to 1 four times",
        "Fu et al., Cyclical annealing schedule: a simple approach to mitigating KL vanishing, NAACL 2019",
        _terms(kl={"kind": "kl", "weight": {"kind": "cyclic", "end": 1.0, "cycles": 4, "ratio": 0.5}}),
        "a head start while β is low: after 200 steps on MNIST an elbo of −153.8 nats, where the VAE has −161.1.",
    ),
    "sigma-vae": Recipe(
        "a Gaussian likelihood whose σ is the best one for the batch",
        "Rybkin, Daniilidis and Levine, Simple and effective VAE training with calibrated decoders, ICML 2021",
        {"model": {"likelihood": {"kind": "gaussian", "sigma": "optimal"}}},
        "a density of real pixels, whose elbo may well be positive: 407 nats after 200 steps on MNIST. It compares "
        "with other densities of the same data only.",
    ),
    "free-bits": Recipe(
        "each latent may spend 0.25 nats for nothing",
        "Kingma et al., Improved variational inference with inverse autoregressive flow, NeurIPS 2016",
        _terms(kl=None, free_bits={"kind": "free-bits", "nats": 0.25, "weight": 1.0}),
        "latents that need not pay to begin: after 200 steps on MNIST an elbo of −159.9 nats, where the VAE has "
        "−161.1.",
    ),
    "bn-vae": Recipe(
        "the posterior's means are normalised over the batch, so that the rate cannot vanish",
        "Zhu et al., A batch normalized inference network keeps the KL vanishing away, ACL 2020",
        {"model": {"posterior": {"kind": "bn-gaussian"}}},
        "a rate of at least ½ γ² for each latent in training, 3.9 nats for 16 of them at γ = 0.7, and an early start: "
        "after 200 steps on MNIST an elbo of −122.7 nats, where the VAE has −161.1.",
    ),
    "lagging": Recipe(
        "for the first quarter of the training the decoder moves at every tenth step only, the encoder at each",
        "He et al., Lagging inference networks and posterior collapse in variational autoencoders, ICLR 2019",
        {
            "objective": {
                "kind": "lagging",
                "objective": {
                    "kind": "elbo",
                    "terms": {"distortion": {"kind": "distortion"}, "kl": {"kind": "kl", "weight": 1.0}},
                },
            }
        },
        "on Omniglot with a PixelCNN decoder, a KL of 2.5 nats where that of a VAE is 1.5, and −log p(x) of 89.03 "
        "where it is 89.41 (He et al. 2019). Here, after 200 steps on MNIST, an elbo of −146.4 nats, where the VAE "
        "has −161.1.",
    ),
    "beta-tcvae": Recipe(
        "of the parts of the KL the total correlation alone is weighted, by β = 6, by minibatch stratified sampling",
        "Chen et al., Isolating sources of disentanglement in variational autoencoders, NeurIPS 2018",
        _terms(kl=None, decomposed={"kind": "decomposed", "tc": 6.0}),
        "a lower total correlation than the VAE's; on dSprites a MIG of .20 and a FactorVAE score of .76, where the "
        "VAE has .06 and .65 (the README of ARD-VAE).",
    ),
    "factor-vae": Recipe(
        "the total correlation is weighted by γ = 10 beside the elbo, as a critic sees it; the critic has three "
        "layers of 256 where the paper's has six of 1,000",
        "Kim and Mnih, Disentangling by factorising, ICML 2018",
        _terms(tc_critic={"kind": "tc-critic", "weight": 10.0, "hidden": [256, 256, 256]}),
        "a lower total correlation than the VAE's; on dSprites a FactorVAE score of .82, where the VAE has .63 (Lin "
        "et al., InfoGAN-CR, 2020, Table 1).",
    ),
    "dip-vae-i": Recipe(
        "the covariance of the posterior means is drawn to the identity: λ_od = 10, λ_d = 100",
        "Kumar, Sattigeri and Balakrishnan, Variational inference of disentangled latent concepts from unlabeled "
        "observations, ICLR 2018",
        _terms(dip={"kind": "dip", "variant": "i", "off_diagonal": 10.0, "diagonal": 100.0}),
        "on dSprites a FactorVAE score of .60, where the VAE has .65 (the README of ARD-VAE). After 200 steps on "
        "MNIST a rate of 21.4 nats, where the VAE has 13.4: means of unit variance carry something.",
    ),
    "dip-vae-ii": Recipe(
        "the covariance of the samples of the posterior is drawn to the identity: λ_od = λ_d = 10",
        "Kumar, Sattigeri and Balakrishnan, Variational inference of disentangled latent concepts from unlabeled "
        "observations, ICLR 2018",
        _terms(dip={"kind": "dip", "variant": "ii", "off_diagonal": 10.0, "diagonal": 10.0}),
        "on dSprites a FactorVAE score of .61, where the VAE has .65 (the README of ARD-VAE).",
    ),
    "info-vae": Recipe(
        "the KL is weighted by 1 − α = ½ and the MMD of codes and prior by α + λ − 1 = 10, for α = ½",
        "Zhao, Song and Ermon, InfoVAE: balancing learning and inference in variational autoencoders, AAAI 2019",
        _terms(kl={"kind": "kl", "weight": 0.5}, mmd={"kind": "mmd", "weight": 10.0}),
        "a higher rate, with codes whose whole is nearer to the prior: after 200 steps on MNIST 22.4 nats and an MMD "
        "of 0.10, where the VAE has 13.4 nats and 0.18.",
    ),
    "wae-mmd": Recipe(
        "an autoencoder of the squared error whose codes are drawn to the prior by the MMD, λ = 10",
        "Tolstikhin et al., Wasserstein auto-encoders, ICLR 2018",
        _point(SQUARED, mmd={"kind": "mmd", "kernel": "imq", "weight": 10.0}),
        "closer reconstructions than the VAE's: on MNIST an FID of 10.0 for them and 20.4 for samples, where the VAE "
        "has 18.3 and 19.2 (Ghosh et al. 2020, Table 1). There is no elbo.",
    ),
    "swae": Recipe(
        "an autoencoder of the squared error whose codes are drawn to the prior by the sliced Wasserstein distance, λ "
        "= 10",
        "Kolouri et al., Sliced-Wasserstein autoencoder: an embarrassingly simple generative model, ICLR 2019",
        _point(SQUARED, sliced={"kind": "sliced", "weight": 10.0}),
        "after 200 steps on MNIST a distortion of 463.9 nats, of which 448.7 are the constant of the Gaussian and "
        "15.2 the squared error. There is no elbo.",
    ),
    "iwae": Recipe(
        "the importance-weighted bound of K = 5 samples",
        "Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016",
        _importance(samples=5),
        "on dynamically binarised MNIST, for a network 784-200-200-50 after 3,280 epochs: log p(x) of −85.54 nats for "
        "K = 5 and −84.78 for K = 50, where the VAE has −86.76 (Burda et al. 2016, Table 1).",
    ),
    "miwae": Recipe(
        "the mean of M = 2 importance-weighted bounds of K = 4 samples, where the paper has 8 and 8",
        "Rainforth et al., Tighter variational bounds are not necessarily better, ICML 2018",
        _importance(samples=4, groups=2),
        "on dynamically binarised MNIST with M = K = 8, by the IWAE's protocol: log p(x) of −84.97 nats, where the "
        "IWAE of 64 samples has −84.52 (Rainforth et al. 2018, as the README of TightIWAE quotes it).",
    ),
    "ciwae": Recipe(
        "0.05 of the elbo and 0.95 of the importance-weighted bound of K = 5 samples",
        "Rainforth et al., Tighter variational bounds are not necessarily better, ICML 2018",
        _importance(samples=5, mix=0.05),
        "on dynamically binarised MNIST with K = 64, by the IWAE's protocol: log p(x) of −84.57 nats "
        "(Rainforth et al. 2018, as the README of Pythae quotes it).",
    ),
    "piwae": Recipe(
        "the encoder maximises the mean of M = 2 bounds of K = 4 samples, the decoder the one of all 8",
        "Rainforth et al., Tighter variational bounds are not necessarily better, ICML 2018",
        _importance(samples=4, groups=2, partial=True),
        "on dynamically binarised MNIST with M = K = 8, by the IWAE's protocol: log p(x) of −84.46 nats, where the "
        "IWAE of 64 samples has −84.52 (Rainforth et al. 2018, as the README of TightIWAE quotes it).",
    ),
    "dreg": Recipe(
        "the IWAE of K = 5 with the doubly reparameterised gradient of the encoder",
        "Tucker et al., Doubly reparameterized gradient estimators for Monte Carlo objectives, ICLR 2019",
        _importance(samples=5, gradient="dreg"),
        "a quarter of a nat more than the IWAE: log p(x) of −84.90 nats where its total gradient has −85.18, on "
        "dynamically binarised MNIST with 100 latents (the README of nbip/IWAE).",
    ),
    "stl": Recipe(
        "the elbo, with the score taken out of the encoder's gradient",
        "Roeder, Wu and Duvenaud, Sticking the landing: simple, lower-variance gradient estimators for variational "
        "inference, NeurIPS 2017",
        {"objective": {"gradient": "stl"}},
        "the same gradient in expectation: an elbo of −160.8 nats after 200 steps on MNIST, where the VAE has −161.1.",
    ),
    "rws": Recipe(
        "the decoder maximises the importance-weighted bound, and the encoder is fitted to the weighted samples",
        "Bornschein and Bengio, Reweighted wake-sleep, ICLR 2015",
        {"objective": {"kind": "wake-sleep", "samples": 5}},
        "on MNIST what the IWAE has, without a gradient through the draws: a bound of −128.6 nats after 200 steps, "
        "where the IWAE has −129.6.",
    ),
    "vr": Recipe(
        "the variational Rényi bound of α = ½, from K = 5 samples",
        "Li and Turner, Rényi divergence variational inference, NeurIPS 2016",
        {"objective": {"kind": "renyi", "alpha": 0.5, "samples": 5}},
        "a bound between the elbo (α = 1) and the IWAE's (α = 0): −130.6 nats after 200 steps on MNIST, where the "
        "IWAE has −129.6.",
    ),
    "vamp": Recipe(
        "a prior that is the mean posterior of 500 learned pseudo-inputs, and the paper's gated network 784-300-300-40",
        "Tomczak and Welling, VAE with a VampPrior, AISTATS 2018",
        {
            "latents": 40,
            "model": {
                "posterior": {"kind": "gaussian", "net": {"kind": "gated-mlp", "hidden": [300, 300]}},
                "prior": {"kind": "vamp", "components": 500},
                "likelihood": {"net": {"kind": "gated-mlp", "hidden": [300, 300]}},
            },
            **_terms(kl={"kind": "kl", "weight": {"kind": "linear", "end": 1.0, "until": 0.25}}),
        },
        "on dynamically binarised MNIST, trained to the end: log p(x) of −82.43 nats, where the standard prior has "
        "−84.45 (Norouzi et al. 2020).",
    ),
    "iaf": Recipe(
        "a posterior bent by inverse autoregressive flows",
        "Kingma et al., Improved variational inference with inverse autoregressive flow, NeurIPS 2016",
        {"model": {"posterior": {"kind": "iaf"}}},
        "on statically binarised MNIST with 128 latents: an elbo of −101.64 nats, where the diagonal Gaussian has "
        "−103.31 (the README of altosaar/variational-autoencoder); with a deep ResNet, log p(x) of −79.10 on dynamic "
        "MNIST (the paper).",
    ),
    "full-covariance": Recipe(
        "a posterior with any covariance",
        "Kingma and Welling, An introduction to variational autoencoders, 2019",
        {"model": {"posterior": {"kind": "full-gaussian"}}},
        "little at first: an elbo of −164.0 nats after 200 steps on MNIST, where the VAE has −161.1.",
    ),
    "ae": Recipe(
        "an autoencoder: one code for each input, the likelihood of the data's kind, and nothing else",
        "Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 2006; here as in "
        "Ghosh et al., From variational to deterministic autoencoders, ICLR 2020",
        _point(),
        "the closest reconstructions and the worst samples from the prior, which nothing fits to the codes: on MNIST, "
        "by the squared error, an FID of 13.0 and 58.7, and 10.7 for samples of ten Gaussians fitted to the codes "
        "(Ghosh et al. 2020, Table 1). There is no elbo.",
    ),
    "rae-l2": Recipe(
        "an autoencoder whose codes are kept small (β = 0.01) and its decoder's weights too (λ = 0.0001); ten "
        "Gaussians are fitted to the codes afterwards",
        "Ghosh et al., From variational to deterministic autoencoders, ICLR 2020",
        {
            **_point(SQUARED, kl={"kind": "kl", "weight": 0.01}, decoder_l2={"kind": "decoder-l2", "weight": 1e-4}),
            "fit": {"kind": "mixture"},
        },
        "on MNIST an FID of 10.5 for reconstructions and 8.7 for samples of ten Gaussians, where the VAE has 18.3 and "
        "17.7 (Ghosh et al. 2020, Table 1). There is no elbo.",
    ),
    "rae-gp": Recipe(
        "an autoencoder whose codes are kept small (β = 0.01) and the slope of its decoder too (λ = 0.01); ten "
        "Gaussians are fitted to the codes afterwards",
        "Ghosh et al., From variational to deterministic autoencoders, ICLR 2020",
        {
            **_point(
                SQUARED,
                kl={"kind": "kl", "weight": 0.01},
                gradient_penalty={"kind": "gradient-penalty", "weight": 0.01},
            ),
            "fit": {"kind": "mixture"},
        },
        "on MNIST an FID of 14.0 for reconstructions and 11.5 for samples of ten Gaussians, where the VAE has 18.3 "
        "and 17.7 (Ghosh et al. 2020, Table 1). There is no elbo.",
    ),
    "aae": Recipe(
        "an autoencoder whose codes a critic shall not tell from draws of the prior, λ = 1",
        "Makhzani et al., Adversarial autoencoders, 2015",
        _point(adversarial={"kind": "adversarial", "weight": 1.0, "lr": 0.0002}),
        "all latents in use, and a critic that still tells a little: after two epochs of MNIST a test distortion of "
        "71.3 nats and a critic's loss of 0.45, where a guess has log 2 = 0.69 (measured here, one seed). At λ = 10, "
        "or with a faster critic, the codes of scikit-learn's digits collapsed to one point. There is no elbo.",
    ),
    "two-stage": Recipe(
        "a Gaussian likelihood with learned σ, and afterwards a second VAE on the codes, from which they are drawn",
        "Dai and Wipf, Diagnosing and enhancing VAE models, ICLR 2019",
        {"model": {"likelihood": {"kind": "gaussian", "sigma": "learned"}}, "fit": {"kind": "two-stage"}},
        "on MNIST an FID of 12.6 for samples, where the first stage alone has 54.5 (Dai and Wipf 2019, Table 1).",
    ),
}


def recipe(name: str) -> Recipe:
    """Find a recipe; raises UsageError that names the nearest one."""
    if name not in RECIPES:
        raise UsageError(f"There is no recipe {name!r}; {nearest(name, list(RECIPES))}")
    return RECIPES[name]


def networks(shape: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose an encoder and a decoder for the data: convolutions down to some 8 pixels, or an MLP for vectors.

    Example:
        >>> networks((1, 28, 28))[0]
        {'kind': 'conv', 'channels': [32, 64]}
    """
    side = min(shape[1:]) if len(shape) == 3 else 0
    if side < 4:
        return {"kind": "mlp", "hidden": [256, 256]}, {"kind": "mlp", "hidden": [256, 256]}
    layers = max(2, min(len(CONV_CHANNELS), (side // 8).bit_length()))
    channels = list(CONV_CHANNELS[:layers])
    return {"kind": "conv", "channels": channels}, {"kind": "conv", "channels": channels[::-1]}


def length(shape: tuple[int, ...], images: int) -> dict[str, Any]:
    """Choose batch and epochs: 128 and four passes (forty for vectors), or for few images smaller batches and more.

    Four passes over a few hundred images are a few dozen steps, after which a model has hardly begun.

    Example:
        >>> length((1, 28, 28), 55_000), length((3, 48, 64), 240)
        ({'batch': 128, 'epochs': 4}, {'batch': 32, 'epochs': 134})
    """
    batch = min(128, 1 << max(0, (images // 4).bit_length() - 1))
    passes = 4 if len(shape) == 3 else 40
    return {"batch": batch, "epochs": max(passes, -(-FEWEST_STEPS * batch // max(1, images)))}


def base(data: Mapping[str, Any], shape: tuple[int, ...], images: int = 55_000) -> Spec:
    """Give the default spec for so many images of this shape: the lecture's β-VAE, or a Gaussian one for vectors."""
    encoder, decoder = networks(shape)
    image = len(shape) == 3
    likelihood = {"kind": "bernoulli"} if image else {"kind": "gaussian", "sigma": "learned"}
    return {
        "data": dict(data),
        "latents": 16 if image else 2,
        "model": {
            "kind": "vae",
            "posterior": {"kind": "gaussian", "net": encoder},
            "prior": {"kind": "standard"},
            "likelihood": {**likelihood, "net": decoder},
        },
        "objective": {
            "kind": "elbo",
            "terms": {"distortion": {"kind": "distortion"}, "kl": {"kind": "kl", "weight": 1.0}},
        },
        "train": length(shape, images),
        "seed": 0,
    }


def with_networks(spec: Spec, shape: tuple[int, ...]) -> Spec:
    """Give a posterior or likelihood that was replaced the network that suits the data, and a fitted flow its kind."""
    if spec["model"].get("kind") == "vae":
        for part, net in zip(("posterior", "likelihood"), networks(shape), strict=True):
            spec["model"][part].setdefault("net", net)
    if (spec.get("fit") or {}).get("kind") == "flow":
        spec["fit"].setdefault("prior", {"kind": "maf"})
    return spec


def beta_of(objective: Mapping[str, Any], path: tuple[str, ...] = ("objective",)) -> tuple[tuple[str, ...], Any] | None:
    """Find the β of an objective's node: where it stands in the spec, and what stands there; None where there is none.

    Example:
        >>> beta_of({"kind": "elbo", "terms": {"kl": {"kind": "kl", "weight": 4.0}}})
        (('objective', 'terms', 'kl', 'weight'), 4.0)
    """
    for name, term in (objective.get("terms") or {}).items():
        if term["kind"] in BETA:
            argument = BETA[term["kind"]]
            return (*path, "terms", name, argument), term.get(argument)
    inner = objective.get("objective")
    return beta_of(inner, (*path, "objective")) if isinstance(inner, Mapping) else None


FREE = {"distortion", "decoder-l2", "gradient-penalty"}  # terms that do not read the prior


def meets_prior(spec: Spec) -> bool:
    """Whether a training brings codes and prior together, or a prior is fitted to the codes after it.

    Example:
        >>> meets_prior({"objective": {"kind": "elbo", "terms": {"distortion": {"kind": "distortion"}}}, "fit": None})
        False
    """
    terms = spec["objective"].get("terms")
    return bool(spec.get("fit")) or terms is None or any(term["kind"] not in FREE for term in terms.values())


def _instead(spec: Spec) -> str:
    """Name the weights that a spec has and may be set."""
    terms = spec["objective"].get("terms") or {}
    weights = [(name, argument) for name, term in terms.items() for argument in ("weight", "tc") if argument in term]
    paths = [f"objective.terms.{name}.{argument}" for name, argument in weights if name != "distortion"]
    if not paths:
        return "Leave --beta out, or take another recipe, such as beta-vae."
    return f"Set what it has instead, with --set: {', '.join(paths)}."


def with_beta(spec: Spec, beta: float) -> Spec:
    """Set β, the weight of the KL: the number, or the end of its schedule. Raises UsageError where there is no β."""
    found = beta_of(spec["objective"])
    if found is None:
        raise UsageError(f"This recipe has no β: no term of its objective is a weighted KL. {_instead(spec)}")
    path, weight = found
    over: Any = {"end": beta} if isinstance(weight, Mapping) else beta
    if isinstance(weight, Mapping) and "end" not in {known.name for known in describe("weight", weight["kind"])}:
        asks = next(known.name for known in describe("weight", weight["kind"]))
        raise UsageError(
            f"The β of this recipe is moved by {weight['kind']!r} and not set: "
            f"say what it shall come to, such as --set {'.'.join(path)}.{asks}=20."
        )
    for key in reversed(path):
        over = {key: over}
    return merge(spec, over)
