"""Pairs of docstring and code."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from hashneg.cli.demo import corpus

SOURCE = '''
"""A module docstring is no pair."""
raise SystemExit("nothing here may be run")


def plain(x):
    """Add one.

    Really.
    """
    # a comment
    return x + 1


def undocumented():
    return 0


class Outer:
    """A class docstring is no pair."""

    async def method(self):
        """Wait for it."""

        def inner():
            """Count to three."""
            return 3

        def only_a_docstring():
            """Nothing else."""

        return inner()

    if True:

        @property
        def chosen(self):
            r"""Chosen \\d times."""
            try:
                return self._chosen
            except AttributeError:
                pass


def same_docstring():
    """Add one.

    Really.
    """
    return 1 + 1


def same_body(x):
    """Increment."""
    return x + 1


def empty():
    """Promise much."""
    pass


def blank():
    """"""
    return 4
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(corpus, "FEWEST_PAIRS", 1)
    for name in ("package/module.py", "package/__init__.py", "test/module.py", "site-packages/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE if "module" in name or "other" in name else "", encoding="utf-8")
    (tmp_path / "broken.py").write_text("def broken(:\n", encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(
        '# coding: latin-1\ndef f():\n    """Über."""\n    return 1\n'.encode("latin-1")
    )
    (tmp_path / "sitecustomize.py").write_text('def f():\n    """Mine."""\n    return 2\n', encoding="utf-8")
    return tmp_path


def test_pairs_of_a_hand_written_library(library: Path) -> None:
    found = corpus.read_pairs(library)
    assert [(pair.name, pair.docstring, pair.body) for pair in found] == [
        ("latin.f", "Über.", "return 1"),
        ("package.module.plain", "Add one.\n\nReally.", "return x + 1"),
        (
            "package.module.Outer.method",
            "Wait for it.",
            "def inner():\n    return 3\ndef only_a_docstring():\n    pass\nreturn inner()",
        ),
        ("package.module.Outer.method.inner", "Count to three.", "return 3"),
        (
            "package.module.Outer.chosen",
            "Chosen \\d times.",
            "try:\n    return self._chosen\nexcept AttributeError:\n    pass",
        ),
    ]
    plain = found[1]
    assert plain.where == f"package/module.py:{SOURCE[: SOURCE.index('def plain')].count(chr(10)) + 1}"
    assert plain.headline == "Add one."


def test_progress_counts_the_files(library: Path) -> None:
    seen: list[tuple[int, int]] = []
    corpus.read_pairs(library, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_standard_library_gives_several_thousand_pairs() -> None:
    pairs = corpus.read_pairs()  # takes seconds, so one test looks at everything
    assert len(pairs) > 4000
    for field in ("where", "docstring", "body"):
        values = [getattr(pair, field) for pair in pairs]
        assert len(set(values)) == len(values), f"{field} is not unique"
        assert all(value.strip() for value in values)
    paths = [pair.where.rpartition(":")[0] for pair in pairs]
    assert paths == sorted(paths)
    folders = {part for path in paths for part in path.split("/")[:-1]}
    assert folders & {"asyncio", "email", "json"}
    assert not folders & {"test", "tests", "idle_test", "lib2to3", "site-packages", "turtledemo"}
    for pair in pairs:
        if len(pair.docstring) > 40:  # a shorter one may be an ordinary expression: "a + b"
            assert pair.docstring not in pair.body, pair.where
    for pair in pairs[::11]:
        assert not inner_docstrings(pair.body), pair.where


def inner_docstrings(body: str) -> list[str]:
    tree = ast.parse("async def f():\n" + textwrap.indent(body, "    "))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds) and node is not tree.body[0]]
    return [text for text in map(ast.get_docstring, nodes) if text]


def test_reading_twice_gives_the_same(small_library: Path) -> None:
    assert corpus.read_pairs(small_library) == corpus.read_pairs(small_library)


def test_spread_keeps_order_and_covers_the_library() -> None:
    rows = corpus.spread(1234, 500)
    assert len(rows) == 500
    assert rows == sorted(set(rows))
    assert rows[0] == 0
    assert 0.99 * 1234 < rows[-1] < 1234
    assert corpus.spread(1234, None) == corpus.spread(1234, 10**9) == list(range(1234))


def test_a_python_without_sources_is_told(tmp_path: Path) -> None:
    (tmp_path / "os.pyc").write_bytes(b"")
    with pytest.raises(corpus.NoSourcesError, match=r"0 documented functions in 0 source files .* full Python"):
        corpus.read_pairs(tmp_path)
