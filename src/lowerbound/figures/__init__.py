"""Figures: tensors and history rows in, a matplotlib ``Figure`` out, never shown."""

from lowerbound.figures.annealed import bracket as bracket
from lowerbound.figures.images import grid as grid
from lowerbound.figures.images import interpolation as interpolation
from lowerbound.figures.images import manifold as manifold
from lowerbound.figures.images import reconstructions as reconstructions
from lowerbound.figures.images import traversal as traversal
from lowerbound.figures.points import points as points
from lowerbound.figures.points import scatter as scatter
from lowerbound.figures.style import save as save
from lowerbound.figures.style import svg as svg
from lowerbound.figures.training import curves as curves
from lowerbound.figures.training import kl_bars as kl_bars
from lowerbound.figures.training import kl_heat as kl_heat
