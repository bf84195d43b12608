"""Data flows one way: each layer imports only from those below it."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.requirements import need

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(*arguments: str) -> subprocess.CompletedProcess:
    need("importlinter")
    command = [sys.executable, "-c", LINT, "--no-cache", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_layers_of_the_design_hold():
    done = lint()
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("upper", ["hashneg.checks", "hashneg.arrays"])
def test_the_check_fails_when_it_should(tmp_path, upper):
    (tmp_path / "wrong.ini").write_text(
        "[importlinter]\nroot_package = hashneg\n[importlinter:contract:1]\nname = upside down\ntype = layers\n"
        f"layers =\n    {upper}\n    hashneg.quantize\n"
    )
    done = lint("--config", str(tmp_path / "wrong.ini"))
    assert done.returncode == 1
    assert "upside down BROKEN" in done.stdout
