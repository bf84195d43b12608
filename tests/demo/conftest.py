"""A small part of the standard library, which runs fast."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hashneg.cli.demo import corpus


@pytest.fixture(scope="session")
def small_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some packages of the standard library, enough for a demo."""
    root = tmp_path_factory.mktemp("library")
    for name in ("asyncio", "email", "logging"):
        shutil.copytree(corpus.standard_library() / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root
