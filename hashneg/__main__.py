"""``python -m hashneg`` is the command line."""

import sys

from hashneg.cli import main

if __name__ == "__main__":
    sys.exit(main())
