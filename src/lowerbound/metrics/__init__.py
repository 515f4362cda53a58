"""Measures: plain functions of a model and data."""

from lowerbound.metrics.aggregate import active_units as active_units
from lowerbound.metrics.aggregate import usage as usage
from lowerbound.metrics.bits import bits_per_dimension as bits_per_dimension
from lowerbound.metrics.bounds import evaluate as evaluate
from lowerbound.metrics.bounds import headline as headline
from lowerbound.metrics.bounds import log_likelihood as log_likelihood
