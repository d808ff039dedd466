"""behavesim: simulate how an audience responds to a post."""

import os

# Idle OpenMP threads spin by default. Beside any other busy process that made an epoch thirty times slower; sleeping
# threads cost nothing measurable. It must be set before torch is imported, and a value of the user's stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
