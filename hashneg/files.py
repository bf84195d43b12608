"""Files that are either whole or absent, and safetensors files that know what they hold."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

_METADATA_KEY = "hashneg"  # one key: safetensors does not keep the order of several


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed, on failure removed.

    A symbolic link is followed: the file it points to is replaced.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        If the folder does not exist, or `path` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"path {str(path)!r} is a directory; name a file in it")
    if target.exists() and not target.is_file():
        raise ValueError(f"path {str(path)!r} is not an ordinary file, and would be replaced by one")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path {str(path)!r} lies in a folder that does not exist")
    temporary = target.with_name(f".hashneg.{secrets.token_hex(8)}.tmp")
    try:
        temporary.touch(0o666, exist_ok=False)
        mode = temporary.stat().st_mode & 0o777  # what the umask leaves
        yield temporary
        temporary.chmod(mode)  # some writers make private files of their own
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def save_tensors(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Write `tensors` and the JSON-able mapping `about` as a safetensors file of this `kind`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    text = json.dumps({**about, "kind": kind}, sort_keys=True)
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata={_METADATA_KEY: text})
        except SafetensorError as error:  # its name for a full disk
            raise OSError(f"path {os.fspath(path)!r} could not be written: {error}") from error


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
    try:
        about = dict(json.loads(metadata[_METADATA_KEY]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"path {str(path)!r} has damaged {_METADATA_KEY!r} metadata: {error}") from error
    if about.get("kind") != kind:
        raise ValueError(f"path {str(path)!r} holds {about.get('kind')!r}, not {kind!r}")
    return tensors, about
