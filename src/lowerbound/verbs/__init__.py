"""The verbs of the command line: what was found, what was chosen and why, where the result is, and how to go on."""

from lowerbound.verbs.arguments import data_arguments as data_arguments
from lowerbound.verbs.arguments import of_steps as of_steps
from lowerbound.verbs.lists import listing as listing
from lowerbound.verbs.output import make_place as make_place
from lowerbound.verbs.output import save as save
from lowerbound.verbs.output import write as write
from lowerbound.verbs.pictures import interpolate as interpolate
from lowerbound.verbs.pictures import reconstruct as reconstruct
from lowerbound.verbs.pictures import report as report
from lowerbound.verbs.pictures import sample as sample
from lowerbound.verbs.pictures import traverse as traverse
from lowerbound.verbs.saying import hear_loaders as hear_loaders
from lowerbound.verbs.saying import say as say
from lowerbound.verbs.settings import opened as opened
from lowerbound.verbs.settings import settle as settle
from lowerbound.verbs.training import resume as resume
from lowerbound.verbs.training import train as train
from lowerbound.verbs.training import train_group as train_group
