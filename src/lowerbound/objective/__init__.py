"""Objectives: a Trace becomes named scalars, of which one for each player is minimised."""

from lowerbound.objective import weight as weight
from lowerbound.objective.base import Group as Group
from lowerbound.objective.base import Loss as Loss
from lowerbound.objective.base import Objective as Objective
from lowerbound.objective.base import ledger as ledger
from lowerbound.objective.critic import AdversarialCritic as AdversarialCritic
from lowerbound.objective.critic import TotalCorrelationCritic as TotalCorrelationCritic
from lowerbound.objective.decomposed import Decomposed as Decomposed
from lowerbound.objective.discrepancy import MMD as MMD
from lowerbound.objective.discrepancy import Sliced as Sliced
from lowerbound.objective.elbo import Elbo as Elbo
from lowerbound.objective.importance import Importance as Importance
from lowerbound.objective.lagging import Lagging as Lagging
from lowerbound.objective.moments import DIP as DIP
from lowerbound.objective.penalties import DecoderL2 as DecoderL2
from lowerbound.objective.penalties import GradientPenalty as GradientPenalty
from lowerbound.objective.renyi import Renyi as Renyi
from lowerbound.objective.terms import KL as KL
from lowerbound.objective.terms import Capacity as Capacity
from lowerbound.objective.terms import Distortion as Distortion
from lowerbound.objective.terms import FreeBits as FreeBits
from lowerbound.objective.terms import Term as Term
from lowerbound.objective.wake_sleep import WakeSleep as WakeSleep
