"""Measures: plain functions of a model and data."""

from lowerbound.metrics.aggregate import active_units as active_units
from lowerbound.metrics.aggregate import usage as usage
from lowerbound.metrics.annealed import Annealed as Annealed
from lowerbound.metrics.annealed import Bracket as Bracket
from lowerbound.metrics.annealed import annealed_importance_sampling as annealed_importance_sampling
from lowerbound.metrics.annealed import bidirectional as bidirectional
from lowerbound.metrics.annealed import simulated as simulated
from lowerbound.metrics.bits import bits_per_dimension as bits_per_dimension
from lowerbound.metrics.bounds import evaluate as evaluate
from lowerbound.metrics.bounds import headline as headline
from lowerbound.metrics.bridge import Annealing as Annealing
from lowerbound.metrics.importance import elbos as elbos
from lowerbound.metrics.importance import importance_sampling as importance_sampling
from lowerbound.metrics.importance import log_likelihood as log_likelihood
from lowerbound.metrics.importance import mean_of_split as mean_of_split
from lowerbound.metrics.ledger import Convention as Convention
from lowerbound.metrics.ledger import conventions as conventions
from lowerbound.metrics.ledger import fitted_note as fitted_note
from lowerbound.metrics.pareto import generalised_pareto as generalised_pareto
from lowerbound.metrics.pareto import tail_index as tail_index
from lowerbound.metrics.pareto import trusted as trusted
from lowerbound.metrics.weights import Estimates as Estimates
