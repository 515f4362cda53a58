"""What is proven in the tests, proven again where the library is used: on this machine, torch, device and precision.

A check is a small function that gives rows (`Row`): a quantity whose exact value is known, what the library says of it,
and how far the two may be apart. `CHECKS` names those of the library; `composition` makes those of a user's own spec.
The verb ``lowerbound doctor`` prints them as a table.
"""

from lowerbound.doctor import closed, composition, members
from lowerbound.doctor.composition import examine as examine
from lowerbound.doctor.table import FALSE_ALARM as FALSE_ALARM
from lowerbound.doctor.table import Check as Check
from lowerbound.doctor.table import Row as Row
from lowerbound.doctor.table import Setting as Setting
from lowerbound.doctor.table import Table as Table
from lowerbound.doctor.table import perform as perform

CHECKS: dict[str, Check] = {
    "gaussian": closed.gaussian,
    "linear-gaussian": closed.linear_gaussian,
    "importance": closed.importance,
    "finite": closed.finite,
    "training": closed.training,
    "decomposition": closed.decomposition,
    "convolutions": closed.convolutions,
    "likelihoods": members.likelihoods,
    "divergences": members.divergences,
    "densities": members.densities,
    "bounds": members.bounds,
    "gradients": members.gradients,
    "estimators": members.estimators,
    "schedules": members.schedules,
}

__all__ = ["CHECKS", "FALSE_ALARM", "Check", "Row", "Setting", "Table", "composition", "examine", "perform"]
