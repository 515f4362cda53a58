"""A run: the directory of one training, and the trained model in it."""

from lowerbound.run.data import fingerprint as fingerprint
from lowerbound.run.directory import Run as Run
from lowerbound.run.directory import load as load
from lowerbound.run.names import DIVERGED as DIVERGED
from lowerbound.run.names import EVALUATION as EVALUATION
from lowerbound.run.names import FRAMES as FRAMES
from lowerbound.run.names import GROUPS as GROUPS
from lowerbound.run.names import LOCK as LOCK
from lowerbound.run.names import WEIGHTS as WEIGHTS
from lowerbound.run.names import make_folder as make_folder
from lowerbound.run.names import unlike as unlike
