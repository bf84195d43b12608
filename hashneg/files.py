"""Files that are either whole or absent, and safetensors files that know what they hold."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

_METADATA_KEY = "hashneg"  # one key: safetensors does not keep the order of several


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed, on failure removed."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"path {str(target)!r} is a directory; name a file in it")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; a result is an ordinary one
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def save_tensors(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Write `tensors` and the JSON-able mapping `about` as a safetensors file of this `kind`."""
    from safetensors.numpy import save_file

    text = json.dumps({**about, "kind": kind}, sort_keys=True)
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={_METADATA_KEY: text})


def load_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_tensors` wrote; ValueError if the file is truncated, foreign or of another kind."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"path {str(path)!r} is not a file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path {str(path)!r} is not a whole safetensors file: {error}") from error
    if _METADATA_KEY not in metadata:
        raise ValueError(f"path {str(path)!r} was not written by hashneg (no {_METADATA_KEY!r} metadata)")
    about = json.loads(metadata[_METADATA_KEY])
    if about.get("kind") != kind:
        raise ValueError(f"path {str(path)!r} holds {about.get('kind')!r}, not {kind!r}")
    return tensors, about
