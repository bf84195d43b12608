"""Programs that need a fresh Python process: imports, environment variables, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def run_python(
    program: str, *, check: bool = True, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess:
    """Run `program` as a script in a fresh interpreter, with `environment` added to the caller's.

    It is written to a file, so that worker processes that it starts can import it.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "program.py"
        script.write_text(program)
        done = subprocess.run(
            [sys.executable, str(script)], env=os.environ | environment, capture_output=True, text=True, timeout=timeout
        )
    if check:
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
