"""BinaryQuantizer: rotate, center, take signs, pack."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays, files
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import Projection
from hashneg.codes import Codes, width_of
from hashneg.device_embeddings import AnyEmbeddings, check_finite, embeddings, is_on_device
from hashneg.quantize import given, itq, rotations
from hashneg.quantize.sampling import RowSample

ROTATIONS = ("orthogonal", "gaussian", "hadamard", "itq", "identity", "given")
CENTERS = ("mean", "median", None)
SAMPLE_ROWS = 16384  # for medians and ITQ; the standard error of a median's rank is then 0.4 %
_PROBE_ROWS = 1024  # to notice constant bits where nothing else needs a sample
_BLOCK_BYTES = 8 << 20


class NotFittedError(ValueError):
    """The quantizer must be fitted first."""


class ConstantBitWarning(UserWarning):
    """A bit has the same value for every row, and tells nothing."""


class BinaryQuantizer:
    """Quantize embeddings to binary codes: bit i is 1 where ``(R x)_i - c_i >= 0``.

    Parameters
    ----------
    n_bits : int
        Bits of a code, at least 1.
    rotation : {"orthogonal", "gaussian", "hadamard", "itq", "identity"}
        "orthogonal": Haar-distributed orthonormal rows, in independent blocks where n_bits > d.
        "gaussian": independent rows, the classical SimHash.
        "hadamard": three rounds of random signs and Walsh-Hadamard transform, d log d instead of
        d x n_bits multiplications; d is padded to a power of two.
        "itq": learned from a sample of the data, n_bits <= d.
        "identity": the embedding's own axes, n_bits == d.
        ("given" is the name that a quantizer of `from_projection` carries.)
    center : {"mean", "median", None}
        What c_i is: the mean or the median of (R x)_i over the data, or 0.
    seed : int
        Same seed, same codes.

    Attributes
    ----------
    dim : int or None
        d, once fitted.
    n_seen : int
        Rows fitted on.
    thresholds : float64 (n_bits,)
        c, once fitted.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above.

    See Also
    --------
    mine_hard_negatives : which quantizes, searches and filters in one call.

    Notes
    -----
    The mean is taken over all rows, in float64; medians and ITQ use a sample of 16,384 rows chosen by a hash of
    (seed, row number). Neither depends on how the rows are cut into chunks, so `partial_fit` over chunks
    equals `fit`. A row's bits do not depend on the other rows of a call. Rows are used as given: for cosine
    similarity normalise them first.

    Bits may differ between backends where ``|z_i| <= 4 (d + 2) u (|R_i| |x| + |c_i|)``, u = 2**-24, or
    2**-53 for float64 input.

    References
    ----------
    Rotation by QR, centering by the mean, sign: LSH hard negatives (arXiv 2505.17844), section "Quantizer".
    Collision probability of a bit, 1 - angle/pi: Charikar, STOC 2002. ITQ: Gong & Lazebnik, CVPR 2011.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> quantizer = hn.BinaryQuantizer(64).fit(x)
    >>> codes = quantizer.encode(x)
    >>> len(codes), codes.n_bits, codes.data.shape
    (1000, 64, (1000, 8))
    """

    _backend = "auto"  # a mining job sets its own

    def __init__(
        self, n_bits: int, *, rotation: str = "orthogonal", center: str | None = "mean", seed: int = 0
    ) -> None:
        self.n_bits = checks.integer(n_bits, "n_bits", minimum=1)
        self.rotation = checks.choice(rotation, "rotation", ROTATIONS)
        self.center = checks.choice(center, "center", CENTERS)
        self.seed = checks.integer(seed, "seed", minimum=0)
        self._forget()

    def _forget(self) -> None:
        self.dim: int | None = None
        self.n_seen = 0
        self._total: np.ndarray | None = None
        self._sample: RowSample | None = None
        self._projection: Projection | None = None

    @classmethod
    def from_projection(cls, matrix: Any, thresholds: Any = None) -> BinaryQuantizer:
        """A quantizer of a projection of your own, for example a learned hash head: bit i is 1 where (W x)_i >= c_i.

        It counts as fitted, and cannot be fitted to data. Mining L2-normalises embeddings before it quantizes them.

        Parameters
        ----------
        matrix : array, float (n_bits, d)
            W: the weight of a linear layer in the layout of PyTorch; Flax and Keras keep its transpose.
        thresholds : array, float (n_bits,), optional
            c: the negative of the layer's bias. 0 by default.

        Returns
        -------
        BinaryQuantizer
            Of n_bits bits, with ``rotation="given"`` and ``center=None``.

        Raises
        ------
        TypeError, ValueError
            If the arrays are no floats, do not fit, or hold NaN or infinity.

        Examples
        --------
        >>> import numpy as np, hashneg as hn
        >>> head = hn.BinaryQuantizer.from_projection(np.array([[1.0, 0.0], [1.0, -1.0]]), np.array([0.5, 0.0]))
        >>> head.encode(np.array([[0.4, 0.1], [0.6, 0.9]])).to_signs()
        array([[-1,  1],
               [ 1, -1]], dtype=int8)
        """
        projection = given.projection(matrix, thresholds)
        assert projection.matrix is not None
        quantizer = cls(len(projection.matrix), rotation="given", center=None)
        quantizer.dim, quantizer._projection = projection.matrix.shape[1], projection
        return quantizer

    def fit(self, x: Any) -> BinaryQuantizer:
        """Learn the thresholds (and the rotation, for "itq") from all rows of `x`, forgetting earlier fits.

        Parameters
        ----------
        x : array, float (n, d)
            A memory map larger than memory is read block by block. Of an array on a CUDA device, sums and a sample of
            rows come to the host, where the thresholds are computed.

        Returns
        -------
        BinaryQuantizer
            Itself.

        Raises
        ------
        TypeError, ValueError
            If `x` is not a float matrix with at least one row, holds NaN or infinity, or d does not fit the
            rotation. The quantizer is then as it was.

        Warns
        -----
        ConstantBitWarning
            If a bit has the same value for every row of a sample.
        """
        fresh = BinaryQuantizer(self.n_bits, rotation=self.rotation, center=self.center, seed=self.seed)
        fresh._backend = self._backend
        fresh.partial_fit(x)
        fresh._fitted()
        self.__dict__.update(fresh.__dict__)
        return self

    def partial_fit(self, x: Any) -> BinaryQuantizer:
        """Take more rows into account; chunks in order equal one `fit` of the whole.

        Parameters, returns and errors are those of `fit`.
        """
        if self.rotation == "given":
            raise ValueError("a quantizer of from_projection has its matrix and thresholds, and is not fitted to data")
        with arrays.current_stream(x):
            rows = embeddings(x, "x")
            if len(rows) == 0:
                raise ValueError(f"x must have at least one row to fit on, got shape {rows.shape}")
            self._check_dim(rows)
            if self.n_seen and self._sample is None:
                raise ValueError("a loaded quantizer cannot be fitted further, since its sample is not saved; use fit")
            check_finite(rows)
            total = np.zeros(rows.shape[1]) if self._total is None else self._total.copy()
            sample = self._new_sample() if self._sample is None else self._sample.copy()
            add = implementation("add_columns", choose_backend(self._backend, is_on_device(rows)))
            for _, block in rows.blocks(block_rows(rows.shape[1])):
                if self.center == "mean":
                    add(total, block)
                sample.add(block)
        self.dim = rows.shape[1]
        self.n_seen += len(rows)
        self._total, self._sample, self._projection = total, sample, None
        return self

    def encode(self, x: Any) -> Codes:
        """The codes of the rows of `x`.

        Parameters
        ----------
        x : array, float (n, d)

        Returns
        -------
        Codes
            Of n rows, in the framework of `x`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `x` is not a float matrix of the fitted d, or holds NaN or infinity.
        """
        with arrays.current_stream(x):
            return Codes._of(self._apply("encode", x, width_of(self.n_bits), np.uint8), self.n_bits, x)

    def fit_encode(self, x: Any) -> Codes:
        """`fit`, then `encode` the same rows."""
        with arrays.current_stream(x):
            rows = embeddings(x, "x")  # once, so that values of a device are checked once
            return Codes._of(self.fit(rows).encode(rows).host, self.n_bits, x)

    def project(self, x: Any) -> Any:
        """z = R x - c, before the sign.

        Returns
        -------
        array, float32 (n, n_bits)
            float64 for float64 input; of the framework of `x`.
        """
        with arrays.current_stream(x):
            return arrays.exporter(x)(self._apply("project", x, self.n_bits))

    @property
    def thresholds(self) -> np.ndarray:
        return self._fitted().thresholds.copy()

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the codes: 32 hexadecimal digits, equal for equal quantizers."""
        digest = hashlib.blake2b(digest_size=16)
        about = self._about()
        del about["n_seen"]  # says how well the thresholds are known, and decides nothing
        digest.update(repr(sorted(about.items())).encode())
        for name, value in sorted(self._tensors().items()):
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write rotation, thresholds and mean as a safetensors file; the file is whole or absent."""
        files.save_tensors(path, "quantizer", *self._saved())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BinaryQuantizer:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is truncated, was not written by `save`, or does not match its fingerprint.
        """
        saved = files.load_tensors(path, "quantizer")
        try:
            return cls._of_saved(*saved)
        except (KeyError, TypeError, ValueError) as error:
            changed = f"path {os.fspath(path)!r} does not match its fingerprint; it was changed after saving"
            raise ValueError(changed) from error

    def _saved(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        total = {} if self._total is None or self.center != "mean" else {"total": self._total}
        return self._tensors() | total, self._about() | {"fingerprint": self.fingerprint}

    @classmethod
    def _of_saved(cls, tensors: dict[str, np.ndarray], about: dict[str, Any]) -> BinaryQuantizer:
        quantizer = cls(about["n_bits"], rotation=about["rotation"], center=about["center"], seed=about["seed"])
        quantizer.dim, quantizer.n_seen = about["dim"], about["n_seen"]
        quantizer._projection = Projection(
            about["projection"], tensors["thresholds"], tensors.get("matrix"), tensors.get("signs")
        )
        quantizer._total = tensors.get("total")  # missing in files of earlier versions
        if quantizer._total is not None and quantizer._total.shape != (quantizer.dim,):
            raise ValueError(f"the mean has shape {quantizer._total.shape} for {quantizer.dim} dimensions")
        if quantizer.fingerprint != about["fingerprint"]:
            raise ValueError("the quantizer does not match its fingerprint")
        return quantizer

    def __repr__(self) -> str:
        seen = "" if self.rotation == "given" else f", {self.n_seen} rows seen"
        state = "not fitted" if self.dim is None else f"d={self.dim}{seen}"
        return (
            f"BinaryQuantizer({self.n_bits}, rotation={self.rotation!r}, center={self.center!r}, "
            f"seed={self.seed}; {state})"
        )

    def _about(self) -> dict[str, Any]:
        names = ("n_bits", "rotation", "center", "seed", "dim", "n_seen")
        return {name: getattr(self, name) for name in names} | {"projection": self._fitted().kind}

    def _tensors(self) -> dict[str, np.ndarray]:
        projection = self._fitted()
        named = {"thresholds": projection.thresholds, "matrix": projection.matrix, "signs": projection.signs}
        return {name: value for name, value in named.items() if value is not None}

    def _check_dim(self, rows: AnyEmbeddings) -> None:
        dim = rows.shape[1]
        if self.dim not in (None, dim):
            raise ValueError(f"{rows.name} has {dim} dimensions, but the quantizer was fitted on {self.dim}")
        if self.rotation == "identity" and dim != self.n_bits:
            raise ValueError(f"rotation='identity' needs n_bits == d, got n_bits={self.n_bits} and d={dim}")
        if self.rotation == "itq" and self.n_bits > dim:
            raise ValueError(f"rotation='itq' needs n_bits <= d, got n_bits={self.n_bits} and d={dim}")

    def _new_sample(self) -> RowSample:
        large = self.rotation == "itq" or self.center == "median"
        return RowSample(SAMPLE_ROWS if large else _PROBE_ROWS, self.seed)

    def _apply(self, operation: str, x: Any, width: int, dtype: Any = None) -> Any:
        """What a backend makes of the rows of `x`, (n, width) of `dtype` or that of the rows, where `x` lies."""
        rows = embeddings(x, "x")
        projection = self._fitted()
        self._check_dim(rows)
        check_finite(rows)
        run = implementation(operation, choose_backend(self._backend, is_on_device(rows)))
        out = cuda_arrays.namespace(is_on_device(rows)).empty((len(rows), width), dtype or rows.dtype)
        for start, block in rows.blocks(block_rows(rows.shape[1])):
            out[start : start + len(block)] = run(block, projection)
        return out

    def _fitted(self) -> Projection:
        """The rotation and thresholds, computed when first needed after fitting."""
        if self.dim is None:
            raise NotFittedError("the quantizer is not fitted yet; call fit or partial_fit first")
        if self._projection is None:
            self._projection = self._finish(self.dim)
            self._warn_of_constant_bits()
        return self._projection

    def _finish(self, dim: int) -> Projection:
        assert self._total is not None and self._sample is not None
        sample = self._sample.rows
        mean = self._total / self.n_seen
        matrix, signs, kind = None, None, "dense"
        if self.rotation == "identity":
            kind = "identity"
        elif self.rotation == "hadamard":
            kind, signs = "hadamard", rotations.hadamard_signs(self.n_bits, dim, self.seed)
        elif self.rotation == "itq":
            middle = {"mean": mean, "median": sample.mean(axis=0, dtype=np.float64), None: np.zeros(dim)}[self.center]
            matrix = itq.learn(sample - middle, self.n_bits, self.seed)
        else:
            matrix = getattr(rotations, self.rotation)(self.n_bits, dim, self.seed)
        bare = Projection(kind, np.zeros(self.n_bits), matrix, signs)
        thresholds = bare.thresholds
        if self.center == "mean":
            thresholds = rotations.projected(mean[None], bare)[0]
        elif self.center == "median":
            thresholds = np.median(rotations.projected(sample, bare), axis=0)
        return Projection(kind, thresholds, matrix, signs)

    def _warn_of_constant_bits(self) -> None:
        assert self._sample is not None and self._projection is not None
        rows = self._sample.rows
        rows = rows[:: -(-len(rows) // _PROBE_ROWS)]  # from end to end: data may be sorted
        if len(rows) < 2:
            return
        bits = rotations.projected(rows, self._projection) >= 0
        constant = np.flatnonzero(bits.all(axis=0) | ~bits.any(axis=0))
        if len(constant):
            fix = "" if self.center else "; center='mean' or 'median' would split the data"
            whole = "the data" if len(rows) == self.n_seen else f"a sample of {len(rows)} rows"
            checks.warn(
                f"{len(constant)} of {self.n_bits} bits are constant over {whole} (bit {constant[0]} first) "
                f"and tell nothing{fix}",
                ConstantBitWarning,
            )


def block_rows(dim: int) -> int:
    """Rows of a block that fits the cache and the memory budget of a stream."""
    return max(256, _BLOCK_BYTES // (4 * dim) // 256 * 256)
