"""The quantizer's arithmetic once more, in extended precision and by other means than the package's."""

from __future__ import annotations

import numpy as np

import hashneg as hn
from hashneg.backends import implementation
from hashneg.backends.request import Projection
from hashneg.quantize import rotations

ROTATIONS = ["orthogonal", "gaussian", "hadamard", "itq", "identity"]
CENTERS = ["mean", "median", None]
DIM = 40
#: n_bits that goes with `DIM`: not a multiple of 8 where the rotation leaves the choice, and beyond one block.
N_BITS = {"orthogonal": 91, "gaussian": 91, "hadamard": 139, "itq": 27, "identity": DIM}


def data(n: int = 300, d: int = DIM, dtype: type = np.float32, seed: int = 11) -> np.ndarray:
    """Correlated rows around a mean that is not zero."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, d)) * np.linspace(2, 0.1, d)
    return (rng.standard_normal((n, d)) @ mixing + rng.standard_normal(d)).astype(dtype)


def quantizer(rotation: str, center: str | None, seed: int = 0) -> hn.BinaryQuantizer:
    return hn.BinaryQuantizer(N_BITS[rotation], rotation=rotation, center=center, seed=seed)


def matrix(fitted: hn.BinaryQuantizer) -> np.ndarray:
    """R, float64 (n_bits, d); for "hadamard" from the definition H S3 H S2 H S1, block by block."""
    projection = fitted._fitted()
    assert fitted.dim is not None
    if projection.kind == "identity":
        return np.eye(fitted.dim)
    if projection.kind == "dense":
        return projection.matrix
    width = projection.signs.shape[2]
    walsh = np.ones((1, 1))
    while len(walsh) < width:
        walsh = np.block([[walsh, walsh], [walsh, -walsh]])
    walsh /= np.sqrt(width)
    blocks = []
    for signs in projection.signs:
        block = np.eye(width)
        for round_of_signs in signs:
            block = walsh @ (round_of_signs[:, None] * block)
        blocks.append(block)
    return np.concatenate(blocks)[: fitted.n_bits, : fitted.dim]


def exact(fitted: hn.BinaryQuantizer, x: np.ndarray) -> np.ndarray:
    """z = R x - c in extended precision."""
    long = np.longdouble
    return (x.astype(long) @ matrix(fitted).T.astype(long)) - fitted.thresholds.astype(long)


def tolerance(fitted: hn.BinaryQuantizer, x: np.ndarray) -> np.ndarray:
    """How far from zero z must be for its bit to be fixed: 4 (d + 2) u (|R_i| |x| + |c_i|)."""
    unit = 2.0**-53 if x.dtype == np.float64 else 2.0**-24
    lengths = np.linalg.norm(matrix(fitted), axis=1)
    if fitted.rotation == "hadamard":
        lengths = np.ones(fitted.n_bits)  # of the row in all D dimensions
    reach = np.linalg.norm(x.astype(np.float64), axis=1)[:, None] * lengths + np.abs(fitted.thresholds)
    return 4 * (x.shape[1] + 2) * unit * reach


def bits(codes: hn.Codes) -> np.ndarray:
    return np.asarray(codes.to_signs()) > 0


def check_kernels(kind: str, n_bits: int, dim: int, n: int, dtype: str) -> None:
    """The cpu backend within contract 6 of the reference in float64, and its bits the signs of its own numbers."""
    rng = np.random.default_rng(dim)
    rows = rng.standard_normal((n, dim)).astype(dtype)
    matrix = rotations.gaussian(n_bits, dim, 3) if kind == "dense" else None
    signs = rotations.hadamard_signs(n_bits, dim, 3) if kind == "hadamard" else None
    projection = Projection(kind, rng.standard_normal(n_bits) / 10, matrix, signs)
    z = implementation("project", "cpu")(rows, projection)
    wanted = implementation("project", "reference")(rows.astype(np.float64), projection)
    lengths = np.ones(n_bits) if matrix is None else np.linalg.norm(matrix, axis=1)
    reach = np.linalg.norm(rows.astype(np.float64), axis=1)[:, None] * lengths + np.abs(projection.thresholds)
    assert z.dtype == dtype
    assert np.all(np.abs(z - wanted) <= 4 * (dim + 2) * np.finfo(dtype).eps / 2 * reach)
    codes = implementation("encode", "cpu")(rows, projection)
    np.testing.assert_array_equal(codes, np.packbits(z >= 0, axis=1, bitorder="little"))
