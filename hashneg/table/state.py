"""A table and its quantizer as plain values and arrays, and back, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays
from hashneg.backends.request import Projection
from hashneg.codes import width_of
from hashneg.quantize import BinaryQuantizer
from hashneg.table.coded_rows import index_of
from hashneg.table.kept import KeptEmbeddings

if TYPE_CHECKING:
    from hashneg.table.code_table import CodeTable

_SETTINGS = ("n_bits", "rotation", "center", "seed")
_TENSORS = ("matrix", "signs")


def of_table(table: CodeTable) -> dict[str, Any]:
    """Everything a table holds, in copies on the host."""
    state: dict[str, Any] = {"n": table.n, "mode": table.mode, "version": table.version, "pointer": table._pointer}
    held = {"codes": table._index.codes().host, "versions": table._versions, "labels": table._index.labels}
    state |= {name: np.array(cuda_arrays.download(value)) for name, value in held.items() if value is not None}
    state["quantizer"] = of_quantizer(table._quantizer)
    if table._kept is not None:
        state["kept_versions"] = table._kept.versions.copy()
        if table._kept.values is not None:
            state["kept"] = table._kept.values.copy()
    return state


def to_table(table: CodeTable, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes that `table` has to take; ValueError if the state is not one of such a table."""
    for name, own in (("n", table.n), ("mode", table.mode)):
        if (given := entry(state, name)) != own:
            raise ValueError(f"state_dict is of a table with {name}={given!r}, but this one has {name}={own!r}")
    quantizer = to_quantizer(entry(state, "quantizer"))
    if quantizer.n_bits != table.n_bits:
        raise ValueError(f"state_dict has codes of {quantizer.n_bits} bits, but this table has {table.n_bits}")
    versions = array(state, "versions", np.int32, (table.n,))
    codes = array(state, "codes", np.uint8, (table.n, width_of(table.n_bits)))
    labels = array(state, "labels", np.int64, (table.n,)) if "labels" in state else None
    version = checks.integer(entry(state, "version"), "state_dict['version']", minimum=0)
    if versions.size and not (versions.min() >= 0 and versions.max() <= version):
        raise ValueError(f"state_dict['versions'] must lie between 0 and its version {version}")
    pointer = checks.integer(entry(state, "pointer"), "state_dict['pointer']", minimum=0)
    if pointer >= max(table.n, 1):
        raise ValueError(f"state_dict['pointer'] must be a row, 0 to {table.n - 1}, got {pointer}")
    kept = None
    if table.mode == "epoch":
        kept = KeptEmbeddings(table.n)
        kept.versions = array(state, "kept_versions", np.int32, (table.n,))
        if "kept" in state:
            kept.values = array(state, "kept", np.float16, (table.n, None))
    if table._on_device:
        versions, codes = cuda_arrays.upload(versions), cuda_arrays.upload(codes)
        labels = None if labels is None else cuda_arrays.upload(labels)
    return {
        "version": version,
        "_pointer": pointer,
        "_quantizer": quantizer,
        "_versions": versions,
        "_index": index_of(codes, table.n_bits, labels, versions),
        "_kept": kept,
    }


def of_quantizer(quantizer: BinaryQuantizer) -> dict[str, Any]:
    """Everything that decides the codes, in copies."""
    if quantizer.dim is None:
        return {name: getattr(quantizer, name) for name in _SETTINGS}
    tensors = {name: value.copy() for name, value in quantizer._tensors().items()}
    return {**quantizer._about(), **tensors, "fingerprint": quantizer.fingerprint}


def to_quantizer(state: dict[str, Any]) -> BinaryQuantizer:
    """The quantizer that `of_quantizer` saw; ValueError if the state was damaged since."""
    n_bits, rotation, center, seed = (entry(state, name) for name in _SETTINGS)
    quantizer = BinaryQuantizer(n_bits, rotation=rotation, center=center, seed=seed)
    if "fingerprint" not in state:
        return quantizer
    tensors = {name: arrays.to_numpy(state[name], name).copy() for name in _TENSORS if name in state}
    quantizer.dim, quantizer.n_seen = entry(state, "dim"), entry(state, "n_seen")
    thresholds = array(state, "thresholds", np.float64, (n_bits,))
    quantizer._projection = Projection(
        entry(state, "projection"), thresholds, tensors.get("matrix"), tensors.get("signs")
    )
    if quantizer.fingerprint != state["fingerprint"]:
        raise ValueError("state_dict holds a quantizer that does not match its fingerprint")
    return quantizer


def entry(state: dict[str, Any], name: str) -> Any:
    """One entry; ValueError if it is missing."""
    if not isinstance(state, dict):
        raise TypeError(f"state_dict must be a dict, got {type(state).__name__}")
    if name not in state:
        raise ValueError(f"state_dict has no {name!r}; it must come from the state_dict of such an object")
    return state[name]


def array(state: dict[str, Any], name: str, dtype: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """A copy of one array of a state, of this dtype and shape (None takes any length)."""
    given = entry(state, name)
    values = arrays.to_numpy(given, f"state_dict[{name!r}]")
    fits = values.ndim == len(shape) and all(s in (None, v) for s, v in zip(shape, values.shape, strict=True))
    if values.dtype != dtype or not fits:
        raise ValueError(
            f"state_dict[{name!r}] must be {np.dtype(dtype)} of shape {shape}, got {arrays.describe(given)}"
        )
    return values.copy()
