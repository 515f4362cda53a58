"""What ``lowerbound evaluate`` measures of a run: a `Subject` in, a `Section` out, for each entry of `MEASURES`.

The mathematics is in `lowerbound.metrics`: plain functions, tensors in and numbers out. A measure here takes from a run
what such functions need, and puts what they give into words, a table and pictures. One that has no meaning for a run
raises UsageError, and the words stand in the place of its figures.
"""

from lowerbound.evaluation import aggregate, annealed, disentanglement, gap, ledger, likelihood, samples
from lowerbound.evaluation.base import Drawn as Drawn
from lowerbound.evaluation.base import Measure as Measure
from lowerbound.evaluation.base import Section as Section
from lowerbound.evaluation.base import Settings as Settings
from lowerbound.evaluation.base import Subject as Subject

# in the order in which they are measured: one may read the sections before it
MEASURES: dict[str, Measure] = {
    "ledger": ledger.measure,
    "likelihood": likelihood.measure,
    "annealed": annealed.measure,
    "gap": gap.measure,
    "aggregate": aggregate.measure,
    "samples": samples.measure,
    "disentanglement": disentanglement.measure,
}
LONG = ("annealed", "gap")  # minutes: only where asked for by name
