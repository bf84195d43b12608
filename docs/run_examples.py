"""Run the Python examples of Markdown pages: ``python docs/run_examples.py README.md ...``.

The ```` ```python ```` blocks of a page run in order, in one namespace, in a directory that is thrown away.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path) -> int:
    """Run the blocks of one page and return how many there were; an error names the line of the page."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], str(page), "exec"), names)
    return len(blocks)


def main() -> None:
    pages = [Path(name).resolve() for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for page in pages:
            count = run(page)
            if not count:
                sys.exit(f"{page}: no Python example found")
            print(f"{page.name}: {count} examples ran")


if __name__ == "__main__":
    main()
