"""Codes: packed bits, one code per row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from hashneg import arrays, checks, cuda_arrays, files


class Codes:
    """Binary codes, packed eight bits to a byte.

    Bit i of a code is bit ``i % 8`` of byte ``i // 8``, the low bit first; it is 1 where z_i >= 0.
    The bits beyond `n_bits` in the last byte are zero.

    Parameters
    ----------
    data : array, uint8 (n, ceil(n_bits/8))
        Packed codes of any framework. Memory is shared, not copied, where the layout allows it.
    n_bits : int
        Bits of one code, at least 1.

    Attributes
    ----------
    data : array, uint8 (n, ceil(n_bits/8)), of the framework it was made from
    n_bits : int

    Raises
    ------
    TypeError
        If `data` is not a uint8 array.
    ValueError
        If the width does not fit `n_bits`, or a bit beyond `n_bits` is set.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = hn.Codes.from_signs(np.array([[1.0, -1.0, 0.5], [-2.0, 0.0, 3.0]]))
    >>> codes.data.tolist(), codes.n_bits, len(codes)
    ([[5], [6]], 3, 2)
    """

    def __init__(self, data: Any, n_bits: int) -> None:
        n_bits = checks.integer(n_bits, "n_bits", minimum=1)
        host = arrays.to_plain(data, "data")
        if host.dtype != np.uint8:
            raise TypeError(f"data must be uint8, got {arrays.describe(data)}")
        _check_width(host, n_bits, data)
        host = cuda_arrays.contiguous(host)
        if checks.values_are_checked() and _padding_is_set(host, n_bits):
            raise ValueError(
                f"data has bits set beyond n_bits={n_bits}, which the low-bit-first order leaves zero; take codes of "
                "another order in through Codes.from_packbits, or give the true n_bits"
            )
        self.data = data
        self.n_bits = n_bits
        self._host = host

    @classmethod
    def _of(cls, host: np.ndarray, n_bits: int, like: Any) -> Codes:
        """Codes from a fresh, checked NumPy array, in the framework of `like`."""
        codes = object.__new__(cls)
        codes.data = arrays.exporter(like)(host)
        codes.n_bits = n_bits
        codes._host = host
        return codes

    @property
    def host(self) -> Any:
        """The data as a C-contiguous NumPy array, of CuPy where it lies on a CUDA device; do not write to it."""
        return self._host

    @classmethod
    def from_packbits(cls, data: Any, n_bits: int, bitorder: str = "little") -> Codes:
        """Take over packed codes of another library.

        Parameters
        ----------
        data : array, uint8 or int8 (n, ceil(n_bits/8))
            uint8 from FAISS ("little"), from `numpy.packbits` or sentence-transformers "ubinary" (both "big", unless
            told otherwise); int8 is taken for sentence-transformers "binary" ("big"), which is the byte - 128.
        n_bits : int
        bitorder : "little" or "big"
            Whether the first bit is the low or the high bit of its byte.

        Returns
        -------
        Codes

        Raises
        ------
        TypeError
            If `data` is not uint8 or int8.
        ValueError
            If the width does not fit `n_bits`, or a bit beyond `n_bits` is set: then `bitorder` or `n_bits` is
            probably wrong.

        Examples
        --------
        >>> import numpy as np, hashneg as hn
        >>> bits = np.array([[1, 0, 1, 1, 0]], dtype=bool)
        >>> hn.Codes.from_packbits(np.packbits(bits), 5, bitorder="big").to_signs().tolist()
        Traceback (most recent call last):
        ...
        ValueError: data must have shape (n, 1) for n_bits=5, got numpy array of shape (1,), dtype uint8 on cpu
        >>> hn.Codes.from_packbits(np.packbits(bits, axis=1), 5, bitorder="big").to_signs().tolist()
        [[1, -1, 1, 1, -1]]
        """
        n_bits = checks.integer(n_bits, "n_bits", minimum=1)
        checks.choice(bitorder, "bitorder", ["little", "big"])
        host = arrays.to_numpy(data, "data")
        if host.dtype not in (np.uint8, np.int8):
            raise TypeError(f"data must be uint8 or int8, got {arrays.describe(data)}")
        _check_width(host, n_bits, data)
        if host.dtype == np.int8:
            host = host.view(np.uint8) ^ np.uint8(0x80)
        if bitorder == "big":
            host = _BIT_REVERSED[host]
        host = np.array(host, order="C")
        if checks.values_are_checked() and _padding_is_set(host, n_bits):
            raise ValueError(
                f"data has bits set beyond n_bits={n_bits} under bitorder={bitorder!r}; numpy.packbits and "
                "sentence-transformers put the first bit high (bitorder='big'), FAISS puts it low"
            )
        return cls._of(host, n_bits, data)

    def to_packbits(self, bitorder: str = "little") -> Any:
        """The packed bytes, uint8 (n, ceil(n_bits/8)), as `numpy.packbits` with this `bitorder` gives them."""
        checks.choice(bitorder, "bitorder", ["little", "big"])
        with arrays.current_stream(self.data):
            reversed_of = cuda_arrays.beside(_BIT_REVERSED, self._host)
            host = self._host.copy() if bitorder == "little" else reversed_of[self._host]
            return arrays.exporter(self.data)(host)

    @classmethod
    def from_signs(cls, x: Any) -> Codes:
        """Pack the signs of an (n, n_bits) array: bit i is 1 where ``x[:, i] >= 0``.

        Parameters
        ----------
        x : array, float or signed integer (n, n_bits)
            NaN is refused. -0.0 counts as 0.

        Raises
        ------
        TypeError
            If `x` is of a bool or unsigned dtype, where every value is >= 0.
        ValueError
            If `x` holds NaN or infinity.

        Warns
        -----
        UserWarning
            If values are 0 and none is negative, as in 0/1 bits: then every bit is 1.
        """
        values = arrays.to_numpy(x, "x")
        if values.dtype.kind in "bu" and not arrays.is_bfloat16(x):
            raise TypeError(
                f"x must be of a signed dtype, got {arrays.describe(x)}: every value of it is >= 0. For 0/1 bits use "
                "Codes.from_packbits(numpy.packbits(bits, axis=1, bitorder='little'), bits.shape[1])"
            )
        if values.ndim != 2 or values.shape[1] == 0:
            raise ValueError(f"x must have shape (n, n_bits) with n_bits > 0, got {arrays.describe(x)}")
        if values.dtype.kind == "i":
            host, lowest = _pack_signs(values), values.min(initial=1)
        else:
            host, lowest = np.empty((len(values), width_of(values.shape[1])), np.uint8), 1
            for start, block in arrays.embeddings(x, "x").blocks(16384):
                host[start : start + len(block)] = _pack_signs(block)
                lowest = min(lowest, block.min())
        if lowest == 0:
            checks.warn("x has zeros and no negative value, so every bit of the codes is 1; 0/1 bits go through "
                        "Codes.from_packbits")  # fmt: skip
        return cls._of(host, values.shape[1], x)

    def to_signs(self) -> Any:
        """The bits as int8 (n, n_bits) of +1 and -1."""
        with arrays.current_stream(self.data):
            if isinstance(self._host, np.ndarray):
                bits = np.unpackbits(self._host, axis=1, count=self.n_bits, bitorder="little")
            else:
                places = cuda_arrays.upload(np.arange(8, dtype=np.uint8))
                bits = (self._host[:, :, None] >> places & np.uint8(1)).reshape(len(self), -1)[:, : self.n_bits]
            return arrays.exporter(self.data)(bits.view(np.int8) * np.int8(2) - np.int8(1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codes as a safetensors file, from a device by way of the host; the file is whole or absent."""
        with arrays.current_stream(self.data):
            files.save_tensors(path, "codes", {"codes": cuda_arrays.download(self._host)}, {"n_bits": self.n_bits})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codes:
        """Read what `save` wrote, as NumPy.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is truncated, or was not written by `Codes.save`.
        """
        tensors, about = files.load_tensors(path, "codes")
        try:
            return cls(tensors["codes"], about["n_bits"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"path {os.fspath(path)!r} holds damaged codes: {error}") from error

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, key: Any) -> Codes:
        """The codes of some rows: a slice, a vector of ids or bools; an integer gives Codes of length 1."""
        with arrays.current_stream(self.data):
            return self._rows(key)

    def _rows(self, key: Any) -> Codes:
        rows: Any = key
        if isinstance(key, list):
            rows = cuda_arrays.beside(np.asarray(key, dtype=None if key else np.int64), self._host)
        elif not isinstance(key, slice) and arrays.framework_of(key) is not None:
            rows = arrays.beside(key, "key", self.data)
        if isinstance(rows, np.ndarray) and rows.ndim == 0 and rows.dtype.kind in "iu":
            rows = int(rows)
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            row = int(rows)
            if not -len(self) <= row < len(self):
                raise IndexError(f"row {row} is out of range for {len(self)} codes")
            row %= len(self)
            rows = slice(row, row + 1)
        elif not isinstance(rows, slice) and (
            not isinstance(rows, type(self._host)) or rows.ndim != 1 or rows.dtype.kind not in "iub"
        ):
            raise TypeError(
                "Codes are indexed by rows: an integer, a slice, or a vector of integers or bools; "
                f"got {arrays.describe(key)}"
            )
        return type(self)._of(cuda_arrays.contiguous(self._host[rows]), self.n_bits, self.data)

    def __iter__(self) -> Iterator[Codes]:
        return (self[i] for i in range(len(self)))

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Codes are no array: take codes.data (packed bytes) or codes.to_signs() (+1 and -1)")

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "n_bits": self.n_bits}  # the NumPy view would travel as a second copy

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.data, self.n_bits = state["data"], state["n_bits"]
        self._host = cuda_arrays.contiguous(arrays.to_plain(self.data, "data"))

    def __repr__(self) -> str:
        return f"Codes({len(self)} x {self.n_bits} bits, {arrays.framework_of(self.data)})"


_BIT_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[
    :, 0
]


def _pack_signs(x: np.ndarray) -> np.ndarray:
    return np.packbits(x >= 0, axis=1, bitorder="little")


def _check_width(host: np.ndarray, n_bits: int, data: Any) -> None:
    if host.ndim != 2 or host.shape[1] != width_of(n_bits):
        raise ValueError(
            f"data must have shape (n, {width_of(n_bits)}) for n_bits={n_bits}, got {arrays.describe(data)}"
        )


def _padding_is_set(host: np.ndarray, n_bits: int) -> bool:
    return bool(n_bits % 8 and np.any(host[:, -1] >> (n_bits % 8)))


def width_of(n_bits: int) -> int:
    """Bytes of one code."""
    return -(-n_bits // 8)


def as_codes(x: Any, name: str, device: bool = False) -> Codes:
    """Take Codes, or a uint8 (n, width) array for codes of 8 x width bits; on a CUDA device only with `device`."""
    if isinstance(x, Codes):
        if not device:
            arrays.to_numpy(x.data, name)  # refuses what lies on a device
        return x
    if arrays.framework_of(x) is None:
        raise TypeError(f"{name} must be Codes or a uint8 array, got {arrays.describe(x)}")
    host = arrays.to_plain(x, name) if device else arrays.to_numpy(x, name)
    if host.dtype != np.uint8:
        raise TypeError(
            f"{name} must be Codes or a uint8 array, got {arrays.describe(x)}; "
            "encode embeddings with BinaryQuantizer, or take foreign codes in through Codes.from_packbits"
        )
    if host.ndim != 2 or host.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, width) with width > 0, got {arrays.describe(x)}")
    return Codes(x, 8 * host.shape[1])
