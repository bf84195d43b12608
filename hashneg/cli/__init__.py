"""The command line: ``hashneg mine``, ``merge``, ``info`` and ``demo``.

Importing this package loads nothing but `main`, so that a missing extra can be told in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

_NEEDS = ("typer", "rich", "pyarrow")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 for Ctrl-C.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` by default.
    """
    absent = [name for name in _NEEDS if find_spec(name) is None]
    if absent:
        print(
            f"hashneg: error: the command line needs {', '.join(absent)}; install it with\n"
            f'  {sys.executable or "python"} -m pip install "hashneg[cli]"',
            file=sys.stderr,
        )
        return 2
    from hashneg.cli.app import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
