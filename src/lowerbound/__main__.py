"""``python -m lowerbound``."""

import sys

from lowerbound.cli import main

sys.exit(main())
