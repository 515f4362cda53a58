"""Figures: tensors and history rows in, a matplotlib ``Figure`` out, never shown."""

from lowerbound.figures.annealed import bracket as bracket
from lowerbound.figures.comparison import Point as Point
from lowerbound.figures.comparison import elbo_over as elbo_over
from lowerbound.figures.comparison import overlay as overlay
from lowerbound.figures.comparison import rate_distortion as rate_distortion
from lowerbound.figures.images import grid as grid
from lowerbound.figures.images import interpolation as interpolation
from lowerbound.figures.images import manifold as manifold
from lowerbound.figures.images import reconstructions as reconstructions
from lowerbound.figures.images import traversal as traversal
from lowerbound.figures.likelihood import bound_curve as bound_curve
from lowerbound.figures.likelihood import gaps as gaps
from lowerbound.figures.likelihood import tail as tail
from lowerbound.figures.points import points as points
from lowerbound.figures.points import scatter as scatter
from lowerbound.figures.samples import copies as copies
from lowerbound.figures.samples import measures as measures
from lowerbound.figures.style import save as save
from lowerbound.figures.style import svg as svg
from lowerbound.figures.tasks import anomalies as anomalies
from lowerbound.figures.tasks import imputed as imputed
from lowerbound.figures.tasks import nearest as nearest
from lowerbound.figures.tasks import roc as roc
from lowerbound.figures.training import curves as curves
from lowerbound.figures.training import kl_bars as kl_bars
from lowerbound.figures.training import kl_heat as kl_heat
