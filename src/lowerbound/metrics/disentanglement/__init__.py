"""How far latents and factors are one to one: scores of codes (N, D) of images of which the factors (N, F) are known.

Of each the estimator's settings stand in what it gives. None tells a good model from a lucky one: seeds of the same
training differ by more than methods do (Locatello et al., 2019), so compare several.
"""

from lowerbound.metrics.disentanglement.base import DisentanglementScore as DisentanglementScore
from lowerbound.metrics.disentanglement.base import error_over_images as error_over_images
from lowerbound.metrics.disentanglement.forest import DCIScores as DCIScores
from lowerbound.metrics.disentanglement.forest import dci as dci
from lowerbound.metrics.disentanglement.infomec import InfoMECScores as InfoMECScores
from lowerbound.metrics.disentanglement.infomec import infomec as infomec
from lowerbound.metrics.disentanglement.information import entropies as entropies
from lowerbound.metrics.disentanglement.information import mig as mig
from lowerbound.metrics.disentanglement.information import modularity as modularity
from lowerbound.metrics.disentanglement.information import mutual_information as mutual_information
from lowerbound.metrics.disentanglement.probes import explicitness as explicitness
from lowerbound.metrics.disentanglement.robustness import irs as irs
from lowerbound.metrics.disentanglement.seeds import udr as udr
from lowerbound.metrics.disentanglement.separation import sap as sap
from lowerbound.metrics.disentanglement.votes import beta_vae as beta_vae
from lowerbound.metrics.disentanglement.votes import factor_vae as factor_vae
