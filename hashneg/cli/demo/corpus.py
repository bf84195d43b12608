"""Pairs of docstring and code, read from the source of the standard library of the running Python."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEWEST_PAIRS = 300  # fewer pairs than dimensions make no embedding
_SKIPPED = {
    "__pycache__",
    "dist-packages",
    "idle_test",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
_NOT_STANDARD = {"sitecustomize.py", "usercustomize.py"}  # written by the machine's owner or distribution
_NOTHING = {"pass", "..."}  # bodies that say nothing
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_DOCUMENTED = (*_FUNCTIONS, ast.ClassDef)


class NoSourcesError(RuntimeError):
    """This Python comes without the sources of its standard library."""


@dataclass(frozen=True)
class Pair:
    """One documented function.

    Attributes
    ----------
    name : str
        Qualified name, ``asyncio.queues.Queue.put`` for example.
    where : str
        File and line, which no two pairs share: ``asyncio/queues.py:119``.
    docstring : str
        The anchor.
    body : str
        The positive: the statements of the function, without this or any inner docstring.
    """

    name: str
    where: str
    docstring: str
    body: str

    @property
    def headline(self) -> str:
        """The first line of the docstring."""
        return self.docstring.split("\n", 1)[0].strip()


def standard_library() -> Path:
    """The folder that holds the standard library of this Python."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path) -> list[Path]:
    """The Python files of the library in a fixed order, without tests and foreign packages."""
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _SKIPPED]
        found += [Path(folder, name) for name in names if name.endswith(".py") and name not in _NOT_STANDARD]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def read_pairs(root: Path | None = None, progress: Callable[[int, int], object] | None = None) -> list[Pair]:
    """Every documented function below `root`, first come first kept where docstrings or bodies are equal.

    Parameters
    ----------
    root : Path, optional
        The standard library of this Python by default.
    progress : function, optional
        Called as ``progress(done, total)`` after every file.

    Returns
    -------
    list of Pair
        In the order of files and lines.

    Raises
    ------
    NoSourcesError
        If there are too few sources to read, as in a Python that ships compiled or zipped modules.
    """
    root = root or standard_library()
    files = source_files(root)
    pairs: list[Pair] = []
    docstrings: set[str] = set()
    bodies: set[str] = set()
    for done, path in enumerate(files, 1):
        for pair in _pairs_of(path, path.relative_to(root)):
            if pair.docstring not in docstrings and pair.body not in bodies:
                pairs.append(pair)
                docstrings.add(pair.docstring)
                bodies.add(pair.body)
        if progress is not None:
            progress(done, len(files))
    if len(pairs) < FEWEST_PAIRS:
        raise NoSourcesError(
            f"found {len(pairs)} documented functions in {len(files)} source files under {root}, too few for the demo; "
            "this Python ships its standard library compiled, zipped or in part. "
            "Use a full Python installation (python.org, conda, or your system's full python3 package)"
        )
    return pairs


def spread(n: int, limit: int | None) -> list[int]:
    """At most `limit` of the rows 0 to n-1, evenly spaced, so that the whole library is represented."""
    count = n if limit is None else min(limit, n)
    return [i * n // count for i in range(count)]


def _pairs_of(path: Path, relative: Path) -> Iterator[Pair]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old escape sequences in other people's code
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # a file that is broken on purpose, or a template
            return
    parts = relative.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"
    found = [item for item in _without_docstrings(tree, module) if isinstance(item[1], _FUNCTIONS) and item[2]]
    for name, node, text in sorted(found, key=lambda item: item[1].lineno):
        body = "\n".join(ast.unparse(statement) for statement in node.body)
        if body not in _NOTHING:
            yield Pair(name, f"{relative.as_posix()}:{node.lineno}", text, body)


def _without_docstrings(node: ast.AST, name: str) -> list[tuple[str, Any, str]]:
    """Take the docstrings out of all functions and classes below `node`: (qualified name, node, docstring).

    Inner ones are taken out too, so that none shows in the body of the function around it.
    """
    taken = []
    for field in _BLOCKS:  # statements only: expressions hold no docstring, and are most of a tree
        for child in getattr(node, field, ()):
            inner = name
            if isinstance(child, _DOCUMENTED):
                inner = f"{name}.{child.name}"
                text = ast.get_docstring(child)
                if text is not None:
                    child.body = child.body[1:] or [ast.Pass()]
                    taken.append((inner, child, text))
            taken += _without_docstrings(child, inner)
    return taken
