"""Likelihoods p(x|z): a network, then a family over pixels."""

from lowerbound.likelihood.base import Likelihood as Likelihood
from lowerbound.likelihood.base import LocationScale as LocationScale
from lowerbound.likelihood.eight_bit import Categorical as Categorical
from lowerbound.likelihood.eight_bit import DiscretisedLogistic as DiscretisedLogistic
from lowerbound.likelihood.eight_bit import DiscretisedLogisticMixture as DiscretisedLogisticMixture
from lowerbound.likelihood.real import Gaussian as Gaussian
from lowerbound.likelihood.real import HyperbolicSecant as HyperbolicSecant
from lowerbound.likelihood.real import Laplace as Laplace
from lowerbound.likelihood.real import StudentT as StudentT
from lowerbound.likelihood.unit import Bernoulli as Bernoulli
from lowerbound.likelihood.unit import ContinuousBernoulli as ContinuousBernoulli
