"""Finished slices of a job that is under way, so that an interrupted job goes on where it stopped."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from hashneg.cli import array_files
from hashneg.cli.array_files import ABOUT, Stream, chunks_of
from hashneg.cli.guard import CommandError
from hashneg.cli.records import Found
from hashneg.mining.job import Mined

_KIND = "part of a job"
ARRAYS = ("indices", "scores", "counts", "positive_scores")


class Parts:
    """The folder ``OUT.parts``, in which every job has a folder of its own.

    Parameters
    ----------
    out : Path
        The output file of the job.
    job : str
        The fingerprint of the job.
    """

    def __init__(self, out: Path, job: str) -> None:
        self.folder = out.parent / f"{out.name}.parts"
        self._home = self.folder / job
        self._job = job

    def others(self) -> int:
        """How many other jobs have slices here."""
        return len([path for path in self._jobs() if path != self._home])

    def path(self, start: int, stop: int) -> Path:
        return self._home / f"{start:012d}-{stop:012d}.safetensors"

    def save(self, start: int, stop: int, mined: Mined, quantizer: str) -> None:
        """Keep a finished slice."""
        self._home.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(mined, name) for name in ARRAYS}
        streams = {name: Stream(a.dtype, a.shape, chunks_of(a)) for name, a in arrays.items()}
        about = {
            "kind": _KIND, "job": self._job, "quantizer": quantizer, "rows": [start, stop], "removed": mined.removed,
        }  # fmt: skip
        array_files.write_safetensors(self.path(start, stop), streams, about)

    def has(self, start: int, stop: int, quantizer: str) -> bool:
        """Whether a slice is finished, whole, and made with the same quantizer."""
        path = self.path(start, stop)
        if not path.is_file():
            return False
        try:
            arrays, metadata = array_files.map_safetensors(path)
            about = json.loads(metadata[ABOUT])
        except (CommandError, ValueError, KeyError):
            return False
        expected = (_KIND, self._job, quantizer, [start, stop])
        found = (about.get("kind"), about.get("job"), about.get("quantizer"), about.get("rows"))
        return found == expected and all(name in arrays and len(arrays[name]) == stop - start for name in ARRAYS)

    def read(self, start: int, stop: int) -> tuple[Found, dict[str, int]]:
        """A finished slice, memory-mapped, and what its filters removed."""
        arrays, metadata = array_files.map_safetensors(self.path(start, stop))
        return Found(start, *(arrays[name] for name in ARRAYS)), json.loads(metadata[ABOUT])["removed"]

    def gathered(self, ranges: list[tuple[int, int]], name: str) -> np.ndarray:
        """One array of all slices."""
        return np.concatenate([getattr(self.read(*span)[0], name) for span in ranges])

    def remove(self) -> None:
        """Remove the slices of all jobs; files that are none of ours stay."""
        for home in self._jobs():
            for path in [*home.glob("*.safetensors"), *home.glob(".*.tmp")]:
                with suppress(OSError):
                    path.unlink()
        self.tidy()

    def tidy(self) -> None:
        """Remove the folders that hold nothing."""
        for folder in [*self._jobs(), self.folder]:
            with suppress(OSError):
                folder.rmdir()

    def _jobs(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if re.fullmatch(r"[0-9a-f]{32}", path.name) and path.is_dir()]
