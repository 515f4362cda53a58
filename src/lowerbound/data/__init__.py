"""Data: published sets, a folder of images, an array, a tensor or toys, each as a `Source`."""

from lowerbound.data.array import given, tensor
from lowerbound.data.resolve import SOURCES, locate
from lowerbound.data.source import Source, Split, order

__all__ = ["SOURCES", "Source", "Split", "given", "locate", "order", "tensor"]
