"""States of tables and samplers in files that ``torch.load`` reads without unpickling code."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from hashneg import files


def tensors(state: Any) -> Any:
    """A state with tensors in the place of its NumPy arrays, which share their memory."""
    if isinstance(state, dict):
        return {name: tensors(value) for name, value in state.items()}
    return torch.from_numpy(state) if isinstance(state, np.ndarray) else state


def save(path: str | os.PathLike[str], **states: dict[str, Any]) -> None:
    """Write states by name; the file is whole or absent.

    Parameters
    ----------
    path : path
    **states : dict
        What `state_dict` returned, of a `CodeTable`, a `HardBatchSampler`, a model, an optimizer.

    Examples
    --------
    >>> import tempfile, numpy as np, hashneg as hn
    >>> from hashneg.adapters.torch import load, save
    >>> table = hn.CodeTable(3, 8)
    >>> table.refresh(np.eye(3))
    array([0, 1, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/step-100.pt", table=table.state_dict())
    ...     state = load(f"{folder}/step-100.pt")
    >>> hn.CodeTable(3, 8).load_state_dict(state["table"])
    """
    with files.atomic_path(path) as temporary:
        torch.save(tensors(states), temporary)


def load(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read what `save` wrote, on the CPU: a dict of states by name. No code in the file is run."""
    return torch.load(path, map_location="cpu", weights_only=True)
