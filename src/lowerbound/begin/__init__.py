"""How a job begins: from what a user asks for, or from a run's checkpoint. Here are the verbs of Python too."""

from lowerbound.begin.again import differences as differences
from lowerbound.begin.again import reopen as reopen
from lowerbound.begin.anew import pick_device as pick_device
from lowerbound.begin.anew import plan_job as plan_job
from lowerbound.begin.anew import prepare as prepare
from lowerbound.begin.asked import open_data as open_data
from lowerbound.begin.asked import plan_spec as plan_spec
from lowerbound.begin.asked import split as split
from lowerbound.begin.checks import suits as suits
from lowerbound.begin.known import blocks as blocks
from lowerbound.begin.known import facts as facts
from lowerbound.begin.known import objective as objective
from lowerbound.begin.known import total as total
from lowerbound.begin.python import advising as advising
from lowerbound.begin.python import carry_out as carry_out
from lowerbound.begin.python import embed as embed
from lowerbound.begin.python import fit as fit
from lowerbound.begin.python import resume as resume
