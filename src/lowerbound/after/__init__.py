"""After the training: a prior fitted to the codes takes the place of the model's.

Where the aggregate posterior q(z) = E_x q(z|x) is not the prior, samples come from places where the decoder has seen
no code. A prior fitted to the codes mends that, and changes nothing else of the model.
"""

from collections.abc import Callable

from lowerbound.after.base import Codes as Codes
from lowerbound.after.base import Fit as Fit
from lowerbound.after.base import codes_of as codes_of
from lowerbound.after.base import fit_prior as fit_prior
from lowerbound.after.base import log_density as log_density
from lowerbound.after.base import with_prior as with_prior
from lowerbound.after.closed import Components as Components
from lowerbound.after.closed import Gaussian as Gaussian
from lowerbound.after.closed import Mixture as Mixture
from lowerbound.after.trained import Flow as Flow
from lowerbound.after.trained import Generated as Generated
from lowerbound.after.trained import Generator as Generator
from lowerbound.after.trained import Rescaled as Rescaled
from lowerbound.after.trained import TwoStage as TwoStage

FITS: dict[str, Callable[..., Fit]] = {
    "gaussian": Gaussian,
    "mixture": Mixture,
    "flow": Flow,
    "two-stage": TwoStage,
}
