"""A plugin that leaves the program on import."""

import sys

sys.exit("a licence is needed")
