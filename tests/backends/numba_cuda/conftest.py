"""What is in `simulated` is for the process that `test_simulator.py` starts."""

import os

collect_ignore = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["simulated"]
