"""A spec is plain JSON; here it is checked against the constructors' annotations and turned into objects.

Every node names its ``kind``, looked up in an explicit registry: never an import path. The other keys are the
constructor's arguments; what it needs to know of the data (`registry.FILLED`) is filled in.
"""

from lowerbound.spec.checks import TOP as TOP
from lowerbound.spec.checks import check as check
from lowerbound.spec.checks import complete as complete
from lowerbound.spec.fields import Field as Field
from lowerbound.spec.fields import describe as describe
from lowerbound.spec.objects import build as build
from lowerbound.spec.objects import build_fit as build_fit
from lowerbound.spec.objects import build_model as build_model
from lowerbound.spec.objects import build_objective as build_objective
from lowerbound.spec.objects import build_source as build_source
from lowerbound.spec.objects import construct as construct
from lowerbound.spec.overrides import assign as assign
from lowerbound.spec.overrides import merge as merge
from lowerbound.spec.registry import OWN as OWN
from lowerbound.spec.registry import REGISTRIES as REGISTRIES
from lowerbound.spec.registry import Spec as Spec
from lowerbound.spec.registry import register as register
