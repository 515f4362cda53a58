"""Networks: functions from images to features and from latents to the parameters of p(x|z), of any size.

An encoder network maps (N, *shape) to (N, features) and says ``features``; a decoder network maps (N, latents) to
(N, *shape). Any module that does so serves, see `lowerbound.register`. Batch norm and dropout are arguments; objectives
that weigh samples by their densities refuse them, see `unsteady`.
"""

from lowerbound.nets.conv import ConvDecoder as ConvDecoder
from lowerbound.nets.conv import ConvEncoder as ConvEncoder
from lowerbound.nets.gated import GatedConvDecoder as GatedConvDecoder
from lowerbound.nets.gated import GatedConvEncoder as GatedConvEncoder
from lowerbound.nets.mlp import MLP as MLP
from lowerbound.nets.mlp import GatedMLP as GatedMLP
from lowerbound.nets.mlp import gated_mlp_decoder as gated_mlp_decoder
from lowerbound.nets.mlp import gated_mlp_encoder as gated_mlp_encoder
from lowerbound.nets.mlp import mlp_decoder as mlp_decoder
from lowerbound.nets.mlp import mlp_encoder as mlp_encoder
from lowerbound.nets.resnet import Residual as Residual
from lowerbound.nets.resnet import ResNetDecoder as ResNetDecoder
from lowerbound.nets.resnet import ResNetEncoder as ResNetEncoder
from lowerbound.nets.tools import Size as Size
from lowerbound.nets.tools import Sizes as Sizes
from lowerbound.nets.tools import halvings as halvings
from lowerbound.nets.tools import leading as leading
from lowerbound.nets.tools import unsteady as unsteady
