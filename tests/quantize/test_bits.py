"""Which bits come out: they follow the definition, on every backend, for every row by itself."""

import numpy as np
import pytest
from helpers import projections
from helpers.projections import CENTERS, ROTATIONS, bits
from helpers.requirements import need
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("rotation", ROTATIONS)
class TestAgainstTheDefinition:
    def test_bits_are_the_signs_of_the_exact_projection(self, backend, rotation, center, dtype):
        x = projections.data(dtype=dtype)
        fitted = projections.quantizer(rotation, center).fit(x)
        z = projections.exact(fitted, x)
        fixed = np.abs(z) > projections.tolerance(fitted, x)
        assert fixed.mean() > 0.97
        np.testing.assert_array_equal(bits(fitted.encode(x))[fixed], (z >= 0)[fixed])

    def test_bits_just_outside_the_tolerance_are_right(self, backend, rotation, center, dtype):
        """Rows built so that one bit each lies at twice its tolerance, on either side of zero."""
        x = projections.data(dtype=dtype)
        fitted = projections.quantizer(rotation, center).fit(x)
        rows = projections.matrix(fitted)
        x = x[: fitted.n_bits]
        chosen = np.arange(len(x)) % fitted.n_bits
        z = projections.exact(fitted, x)[np.arange(len(x)), chosen]
        wanted = 2 * projections.tolerance(fitted, x)[np.arange(len(x)), chosen] * np.where(chosen % 2, 1, -1)
        step = rows[chosen] / np.sum(rows[chosen] ** 2, axis=1, keepdims=True)
        x = (x + (wanted - z).astype(np.float64)[:, None] * step).astype(dtype)
        z = projections.exact(fitted, x)
        margin = projections.tolerance(fitted, x)
        fixed = np.abs(z) > margin
        near = fixed & (np.abs(z) < 8 * margin)
        assert near.sum() >= len(x) // 2
        np.testing.assert_array_equal(bits(fitted.encode(x))[fixed], (z >= 0)[fixed])

    def test_project_is_close_to_the_exact_projection(self, backend, rotation, center, dtype):
        x = projections.data(dtype=dtype)
        fitted = projections.quantizer(rotation, center).fit(x)
        z = fitted.project(x)
        assert z.dtype == dtype
        assert z.shape == (len(x), fitted.n_bits)
        assert np.all(np.abs(z - projections.exact(fitted, x)) <= projections.tolerance(fitted, x))

    def test_encode_gives_the_signs_of_project(self, backend, rotation, center, dtype):
        x = projections.data(dtype=dtype)
        fitted = projections.quantizer(rotation, center).fit(x)
        np.testing.assert_array_equal(bits(fitted.encode(x)), fitted.project(x) >= 0)


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize(
    ("n", "d", "dtype"), [(600, 384, np.float32), (530, 77, np.float32), (530, 77, np.float64), (300, 1, np.float32)]
)
def test_a_row_does_not_depend_on_the_other_rows_of_the_call(backend, rotation, n, d, dtype):
    """Matrix products round a row differently when the number of rows, or its place among them, differs."""
    rng = np.random.default_rng(d)
    x = rng.standard_normal((n, d)).astype(dtype)
    n_bits = {"itq": min(d, 50), "identity": d}.get(rotation, d + 5)
    fitted = hn.BinaryQuantizer(n_bits, rotation=rotation).fit(x)
    z, codes = fitted.project(x), fitted.encode(x).data
    order = rng.permutation(n)
    parts = [slice(0, 1), slice(n - 1, n), slice(1, 4), slice(3, 260), slice(255, 258), slice(n // 3, n), order]
    for part in parts:
        rows = np.ascontiguousarray(x[part])
        np.testing.assert_array_equal(fitted.project(rows), z[part])
        np.testing.assert_array_equal(fitted.encode(rows).data, codes[part])
    for i in rng.integers(0, n, 12):
        np.testing.assert_array_equal(fitted.project(x[i : i + 1]), z[i : i + 1])
    twins = np.repeat(x[7:8], 513, axis=0)
    np.testing.assert_array_equal(fitted.project(twins), np.repeat(z[7:8], 513, axis=0))


@pytest.mark.parametrize("rotation", ROTATIONS)
@given(exponent=st.integers(-60, 60), seed=st.integers(0, 9))
def test_codes_do_not_depend_on_the_scale_without_centering(backend, rotation, exponent, seed):
    x = projections.data(30, seed=seed)
    fitted = _uncentered(rotation)
    np.testing.assert_array_equal(fitted.encode(x * np.float32(2.0**exponent)).data, fitted.encode(x).data)


@pytest.mark.parametrize("rotation", ROTATIONS)
@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 9))
def test_any_positive_factor_keeps_the_bits_outside_the_tolerance(backend, rotation, factor, seed):
    x = projections.data(30, dtype=np.float64, seed=seed)
    fitted = _uncentered(rotation)
    fixed = np.abs(projections.exact(fitted, x)) > 2 * projections.tolerance(fitted, x)
    np.testing.assert_array_equal(bits(fitted.encode(x * factor))[fixed], bits(fitted.encode(x))[fixed])


@pytest.mark.parametrize("rotation", ROTATIONS)
@given(seed=st.integers(0, 50))
def test_negation_flips_every_non_zero_bit(backend, rotation, seed):
    x = projections.data(20, seed=seed)
    x[3] = 0
    x[4, 1:] = 0
    fitted = _uncentered(rotation)
    z = fitted.project(x)
    same = bits(fitted.encode(x)) == bits(fitted.encode(-x))
    np.testing.assert_array_equal(same, z == 0)
    assert same[3].all()
    assert bits(fitted.encode(x[3:4])).all()


_fitted: dict[str, hn.BinaryQuantizer] = {}


def _uncentered(rotation: str) -> hn.BinaryQuantizer:
    if rotation not in _fitted:
        _fitted[rotation] = projections.quantizer(rotation, None).fit(projections.data())
    return _fitted[rotation]


def test_minus_zero_and_zero_give_the_same_bits(backend):
    fitted = hn.BinaryQuantizer(3, rotation="identity", center=None).fit(np.eye(3) - 0.5)
    assert bits(fitted.encode(np.array([[-0.0, 0.0, -1.0]], np.float32))).tolist() == [[True, True, False]]


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_input_equals_its_float32_version(backend, center, name):
    half = np.float16 if name == "float16" else need("ml_dtypes").bfloat16
    x = projections.data().astype(half)
    wide = x.astype(np.float32)
    a, b = (projections.quantizer("orthogonal", center).fit(rows) for rows in (x, wide))
    assert a.fingerprint == b.fingerprint
    np.testing.assert_array_equal(a.encode(x).data, a.encode(wide).data)
    np.testing.assert_array_equal(a.project(x), a.project(wide))
    assert a.project(x).dtype == np.float32


def test_float64_input_is_projected_in_float64(backend):
    """The two rows differ by 1e-12, which float32 cannot see."""
    x = np.array([[-1.0, 1.0], [1.0, 1.0 + 1e-12]])
    fitted = hn.BinaryQuantizer(2, rotation="identity", center="mean").fit(x)
    assert bits(fitted.encode(x))[:, 1].tolist() == [False, True]


def test_backends_agree_on_ordinary_data(monkeypatch):
    need("numba")
    x = projections.data(500)
    for rotation in ROTATIONS:
        found = {}
        for name in ("reference", "cpu"):
            monkeypatch.setenv("HASHNEG_BACKEND", name)
            fitted = projections.quantizer(rotation, "mean").fit(x)
            found[name] = (fitted.fingerprint, bits(fitted.encode(x)))
        assert found["reference"][0] == found["cpu"][0]
        free = np.abs(projections.exact(fitted, x)) <= projections.tolerance(fitted, x)
        assert not np.any((found["reference"][1] != found["cpu"][1]) & ~free)
