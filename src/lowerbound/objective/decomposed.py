"""The KL taken apart: what codes tell of images, how far coordinates depend, how far each is from the prior."""

import math
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from lowerbound.dist import factors
from lowerbound.errors import UsageError
from lowerbound.nets import unsteady
from lowerbound.objective.base import Loss
from lowerbound.objective.terms import Term, vector, weighed
from lowerbound.objective.weight import NonNegative, Weight, as_weight
from lowerbound.vae import Latent, Model, Trace

Estimator = Literal["mss", "mws"]


@final
class Decomposed(Term):
    r"""The rate as mutual information, total correlation and dimension-wise KL, each with its own weight: the β-TCVAE.

    .. math:: \alpha \, \mathbb E \log \frac{q(z|x)}{q(z)} + \beta \, \mathbb E \log \frac{q(z)}{\prod_d q(z_d)}
        + \gamma \, \mathbb E \log \frac{\prod_d q(z_d)}{p(z)}, \qquad \hat q(z_i) = \sum_j w_{ij} \, q(z_i|x_j)

    The three add up to log q(z|x) - log p(z), whose mean is the rate, so that this term stands in place of the KL.
    q(z) is the mean of q(z|x) over the N training images, estimated on the batch, see `log_weights`: "mss" is unbiased
    for q(z) and for each q(z_d), "mws" is the simpler one of the two, and far too small for both. As a logarithm is
    concave, either makes the mutual information too large and the dimension-wise KL too small in expectation. The last
    part is a sum of KLs where the prior factorises. An evaluation averages the estimates of its blocks, each as a batch
    of the N training images: these numbers depend on the size of the blocks.

    Raises UsageError where q does not factorise into its coordinates or has no density, for several groups of latents,
    and in training for "mss" on batches of one image, and where batch norm in the encoder connects the examples:
    q(z|x_j) would then be another one in each batch, and their mean not q(z).

    Reference: Isolating sources of disentanglement in variational autoencoders (Chen et al., 2018).

    Arguments:
        images: N, the number of training images; filled in.
        mi: α, the weight of the mutual information.
        tc: β, the weight of the total correlation, a number or a schedule; 6 in the authors' experiments.
        dim: γ, the weight of the dimension-wise KL.
        estimator: of q(z) on a batch: minibatch stratified ("mss") or minibatch weighted sampling ("mws").

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(torch.ones(1, 5, 2), q, p),), px)
        >>> terms = Decomposed(images=100)(trace, 0).terms  # q is the same for all
        >>> {k: round(float(v), 3) + 0 for k, v in terms.items()}
        {'mi': 0.0, 'dimension_kl': 1.0, 'tc': 0.0}
    """

    def __init__(
        self,
        images: Annotated[int, Ge(1)],
        mi: NonNegative = 1.0,
        tc: NonNegative | Weight = 6.0,
        dim: NonNegative = 1.0,
        estimator: Estimator = "mss",
    ) -> None:
        super().__init__()
        self.images, self.mi, self.dim, self.estimator = images, mi, dim, estimator
        self.tc = as_weight(tc)

    def reduce(self, model: Model, trace: Trace, step: int) -> Loss:
        """Refuse an encoder whose posterior of one image depends on the others of the batch; else give `forward`."""
        if model.training and "batch norm" in unsteady(getattr(model, "posterior", model)):
            raise UsageError(
                "The decomposed KL takes q(z) to be the mean of q(z|x) over all images, and while training, batch norm "
                "in the encoder makes q(z|x) of one image depend on the others of a batch: set norm of the posterior's "
                "net to none or layer, take another posterior than bn-gaussian, or the term kl."
            )
        return self.forward(trace, step)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give the weighted sum of the three, and log each of them."""
        latent = vector(trace, "The decomposed KL")
        if self.training and self.estimator == "mss" and latent.z.shape[1] == 1:
            raise UsageError(
                "Minibatch stratified sampling learns of q(z) from the other images of a batch, and this batch has "
                "one: set train.batch to 2 or more."
            )
        mi, tc, dim = (part.mean() for part in decompose(latent, self.images, self.estimator))
        rest = Loss({"model": self.mi * mi + self.dim * dim}, {"mi": mi.detach(), "dimension_kl": dim.detach()})
        return rest + weighed("tc", tc, self.tc, step)


def decompose(
    latent: Latent, images: int, estimator: Estimator = "mss"
) -> tuple[Float[Tensor, "K B"], Float[Tensor, "K B"], Float[Tensor, "K B"]]:
    """Give log q(z|x) - log q(z), log q(z) - Σ log q(z_d) and Σ log q(z_d) - log p(z) at each sample, in nats."""
    weights = log_weights(latent.z.shape[1], images, estimator)
    joint, each = log_aggregate(latent, weights.to(latent.z))
    product = each.sum(-1)
    return latent.log_q - joint, joint - product, product - latent.log_p


def log_aggregate(latent: Latent, log_w: Float[Tensor, "B B"]) -> tuple[Float[Tensor, "K B"], Float[Tensor, "K B D"]]:
    r"""Give the logarithms of q(z) and of each q(z_d), estimated on the batch, at each sample z_i.

    .. math:: \hat q(z_i) = \sum_j w_{ij} \prod_d q(z_{id}|x_j), \qquad \hat q(z_{id}) = \sum_j w_{ij} \, q(z_{id}|x_j)

    A weight counts once for the joint density, whatever the number of its factors.
    """
    q = factors(latent.q)
    if q is None or not latent.density:
        raise UsageError(
            f"q(z|x) is a {type(latent.q).__name__}, without a density of each single coordinate: there is no total "
            "correlation to weigh. Take a posterior that factorises, such as gaussian, or another term."
        )
    cross = q.log_prob(latent.z.transpose(0, 1)[:, :, None])  # i, K, j, D: q may have batch shape (B,) or (K, B)
    weighted = log_w[:, None, :]
    joint = (weighted + cross.sum(-1)).logsumexp(2)
    each = (weighted[..., None] + cross).logsumexp(2)
    return joint.transpose(0, 1), each.transpose(0, 1)


def log_weights(batch: int, images: int, estimator: Estimator = "mss") -> Float[Tensor, "{batch} {batch}"]:
    r"""Give log w: row i says how much each image of a batch counts in q(z_i), a sample of image i.

    .. math:: w^\mathrm{mws}_{ij} = \frac1{N B}, \qquad w^\mathrm{mss}_{ii} = \frac1N, \quad
        w^\mathrm{mss}_{i, i + 1} = \frac{N - B + 1}{N (B - 1)}, \quad w^\mathrm{mss}_{ij} = \frac1{B - 1}
        \text{ elsewhere}

    Image i is one of the N for certain; the B - 1 others are drawn without replacement from the N - 1 that remain, and
    stand for them. A row of the second kind sums to one, and the expectation over batches is q(z_i); one of the first
    sums to 1/N. A batch larger than the training set counts as a set of its own size. Of a batch of one image nothing
    is known of the others, and its own density stands for all in "mss".

    Reference: Isolating sources of disentanglement in variational autoencoders, appendix C (Chen et al., 2018).

    Example:
        >>> log_weights(3, 10).exp().mul(20).round()
        tensor([[ 2.,  8., 10.],
                [10.,  2.,  8.],
                [ 8., 10.,  2.]], dtype=torch.float64)
    """
    n = max(images, batch)
    if estimator == "mws":
        return torch.full((batch, batch), -math.log(n * batch), dtype=torch.float64)
    if batch == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    w = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64).fill_diagonal_(1 / n)
    i = torch.arange(batch)
    w[i, (i + 1) % batch] = (n - batch + 1) / (n * (batch - 1))
    return w.log()
