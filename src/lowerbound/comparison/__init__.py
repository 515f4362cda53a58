"""Several runs beside one another: sweeps, which train them, and comparisons of whatever runs there are."""

from lowerbound.comparison.plan import go_on as go_on
from lowerbound.comparison.plan import sweep as sweep
from lowerbound.comparison.table import Comparison as Comparison
from lowerbound.comparison.table import compare as compare
