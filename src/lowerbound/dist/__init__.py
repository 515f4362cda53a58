"""Distributions that torch lacks or has wrong, and what one may ask of any of them.

`draw` gives a reparameterised sample, and its log density where that is cheaper at once; `factors` gives the
distribution of the single coordinates where they are independent.
"""

from lowerbound.dist.affine import Affine as Affine
from lowerbound.dist.bernoulli import CrossEntropy as CrossEntropy
from lowerbound.dist.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from lowerbound.dist.dirac import Dirac as Dirac
from lowerbound.dist.discretised_logistic import DiscretisedLogistic as DiscretisedLogistic
from lowerbound.dist.flow import Flow as Flow
from lowerbound.dist.full_normal import FullNormal as FullNormal
from lowerbound.dist.hyperbolic_secant import HyperbolicSecant as HyperbolicSecant
from lowerbound.dist.joint import Joint as Joint
from lowerbound.dist.levels import Levels as Levels
from lowerbound.dist.levels import on_levels as on_levels
from lowerbound.dist.mixture import Mixture as Mixture
from lowerbound.dist.normal import OptimalNormal as OptimalNormal
from lowerbound.dist.tools import draw as draw
from lowerbound.dist.tools import factors as factors
from lowerbound.dist.tools import full_precision as full_precision
from lowerbound.dist.tools import has_density as has_density
from lowerbound.dist.tools import tempered as tempered
