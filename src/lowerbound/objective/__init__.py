"""Objectives: a Trace becomes named scalars, of which one for each player is minimised."""

from lowerbound.objective import weight as weight
from lowerbound.objective.base import Group as Group
from lowerbound.objective.base import Loss as Loss
from lowerbound.objective.base import Objective as Objective
from lowerbound.objective.base import ledger as ledger
from lowerbound.objective.elbo import Elbo as Elbo
from lowerbound.objective.terms import KL as KL
from lowerbound.objective.terms import Capacity as Capacity
from lowerbound.objective.terms import Distortion as Distortion
from lowerbound.objective.terms import FreeBits as FreeBits
from lowerbound.objective.terms import Term as Term
