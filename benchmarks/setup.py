"""What all benchmarks share: the machine, versions, threads and how much is measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

SIZES = ("tiny", "quick", "default", "full")
SECONDS = {"tiny": 0.0, "quick": 0.7, "default": 2.0, "full": 2.0}  # per cell and contender
BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would choose a kernel in the processor's stead
_PACKAGES = (
    "numpy", "numba", "faiss-cpu", "usearch", "hnswlib", "torch", "sentence-transformers", "scikit-learn",
)  # fmt: skip


@dataclass
class Setup:
    """How a benchmark is run.

    Attributes
    ----------
    size : "tiny", "quick", "default" or "full"
    seconds : float
        Time for a cell and contender; at least one run.
    threads : int
        The most threads that anything uses.
    peers : bool
        Whether to measure competitors.
    """

    size: str = "default"
    seconds: float = 2.0
    threads: int = 1
    seed: int = 0
    peers: bool = True
    _skipped: set[str] = field(default_factory=set)

    def choose(self, **of_size: object) -> object:
        """The value for this size; sizes that are not named take the one below."""
        known = [size for size in SIZES[: SIZES.index(self.size) + 1] if size in of_size]
        return of_size[known[-1]]

    def has(self, module: str) -> bool:
        """Whether a competitor is wanted and installed; says once that it is skipped."""
        if not self.peers:
            return False
        if find_spec(module) is not None:
            return True
        if module not in self._skipped:
            self._skipped.add(module)
            say(f"skipped: {module} is not installed (python -m pip install -e '.[bench]')")
        return False


def set_up(
    size: str = "default", seconds: float | None = None, threads: int | None = None, peers: bool = True
) -> Setup:
    """The settings of a run, speed and memory alike."""
    return Setup(size, SECONDS[size] if seconds is None else seconds, threads or cores(), 0, peers)


def say(text: str) -> None:
    """Tell the user how things go, apart from the results on standard output."""
    print(text, file=sys.stderr, flush=True)


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let hashneg, BLAS and every competitor that is loaded use this many threads."""
    before = os.environ.get("HASHNEG_NUM_THREADS")
    os.environ["HASHNEG_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    with ExitStack() as stack:
        if find_spec("threadpoolctl") is not None:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(count))
        if "faiss" in sys.modules:
            sys.modules["faiss"].omp_set_num_threads(count)
        try:
            yield
        finally:
            if before is None:
                del os.environ["HASHNEG_NUM_THREADS"]
            else:
                os.environ["HASHNEG_NUM_THREADS"] = before


def header() -> list[str]:
    """The machine, the versions and the kernels, one fact a line."""
    from hashneg.backends import choose_backend
    from hashneg.backends.cpu.vectors import vector_words

    return [
        f"machine: {processor()}, {cores()} cores, {platform.system()} {platform.machine()}",
        f"measured: {date.today().isoformat()}, hashneg {_own_version()}, backend {choose_backend()}, "
        f"vectors of {64 * vector_words()} bits",
        f"versions: Python {platform.python_version()}, {', '.join(_versions())}",
        f"BLAS kernel chosen by the processor: {_blas()}",
    ]


def foreign_load() -> Callable[[], str]:
    """Begin to watch what other programs take from the machine; the result tells it in a line, so far as /proc does."""
    begun, at = _foreign_seconds(), time.monotonic()

    def tell() -> str:
        now = _foreign_seconds()
        if begun is None or now is None:
            return "other programs: unknown"
        share = max(now - begun, 0.0) / max(time.monotonic() - at, 1e-9)
        return f"other programs used {share:.2f} cores meanwhile"

    return tell


def _foreign_seconds() -> float | None:
    """Processor time of everything but this process and its ended children, since the machine was started."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    user, nice, system, _idle, _waiting, interrupts, soft, *_ = statistics.read_text().split()[1:9]
    busy = sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    facts = cpu_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return name


def cpu_facts() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo; empty where there is no such file."""
    about = Path("/proc/cpuinfo")
    if not about.exists():
        return {}
    first = about.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _own_version() -> str:
    import hashneg

    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return hashneg.__version__
    return f"{hashneg.__version__} at {done.stdout.strip()}"


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _blas() -> str:
    """The BLAS that NumPy uses, and the kernel it chose."""
    if find_spec("threadpoolctl") is None:
        return "unknown, threadpoolctl is not installed"
    import numpy  # noqa: F401  loads its BLAS
    from threadpoolctl import threadpool_info

    found = [
        f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return ", ".join(dict.fromkeys(found)) or "unknown"
