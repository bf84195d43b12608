"""``python -m hashneg.cli.demo``: the same as ``hashneg demo``."""

import sys

from hashneg.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
