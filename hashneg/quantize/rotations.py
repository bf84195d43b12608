"""Random rotations R (n_bits x d), each drawn from its own seeded stream."""

from __future__ import annotations

import numpy as np

from hashneg.backends import implementation
from hashneg.backends.request import Projection

_ROUNDS = 3  # of signs and Walsh-Hadamard transform; fewer leave structure in sparse rows


def _generator(seed: int, kind: str, block: int) -> np.random.Generator:
    return np.random.default_rng([seed, *kind.encode(), block])


def orthogonal(n_bits: int, dim: int, seed: int) -> np.ndarray:
    """Haar-distributed orthonormal rows; beyond `dim`, independent blocks of `dim` rows and a last remainder."""
    blocks = []
    for number, first in enumerate(range(0, n_bits, dim)):
        rows = min(dim, n_bits - first)
        gaussian_rows = _generator(seed, "orthogonal", number).standard_normal((rows, dim))
        q, r = np.linalg.qr(gaussian_rows.T)
        # QR alone is not Haar: its signs follow the algorithm, not the draw
        blocks.append((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T)
    return np.ascontiguousarray(np.concatenate(blocks))


def gaussian(n_bits: int, dim: int, seed: int) -> np.ndarray:
    """Independent standard normal entries over sqrt(dim), so that rows have unit length on average."""
    return _generator(seed, "gaussian", 0).standard_normal((n_bits, dim)) / np.sqrt(dim)


def hadamard_signs(n_bits: int, dim: int, seed: int) -> np.ndarray:
    """Random signs (blocks, 3, D) of the randomised Hadamard rotation, D the power of two from `dim` up."""
    width = 1 << (dim - 1).bit_length()
    return np.stack(
        [
            _generator(seed, "hadamard", number).choice([-1.0, 1.0], size=(_ROUNDS, width))
            for number in range(-(-n_bits // width))
        ]
    )


def projected(rows: np.ndarray, projection: Projection) -> np.ndarray:
    """z = R x - thresholds of rows of the host, in float64, the same whatever backend encodes later."""
    z = np.empty((len(rows), len(projection.thresholds)))
    for start in range(0, len(rows), 1024):
        block = rows[start : start + 1024].astype(np.float64)
        if projection.matrix is not None:  # rows need not be independent of each other here, so take the fast product
            z[start : start + 1024] = block @ projection.matrix.T - projection.thresholds
        else:
            z[start : start + 1024] = implementation("project", "reference")(block, projection)
    return z
