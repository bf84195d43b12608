"""Fitting: chunks, thresholds, samples, streams, and calls that fail."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from helpers import projections, strategies
from helpers.projections import CENTERS, ROTATIONS, bits
from hypothesis import given, settings
from hypothesis import strategies as st

import hashneg as hn
from hashneg.quantize import quantizer as module
from hashneg.quantize.sampling import RowSample


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("rotation", ROTATIONS)
@settings(max_examples=6)
@given(boundaries=strategies.cuts(300))
def test_partial_fit_over_any_chunks_equals_fit_bit_for_bit(backend, rotation, center, boundaries):
    x = projections.data()
    whole = projections.quantizer(rotation, center).fit(x)
    chunked = projections.quantizer(rotation, center)
    for start, stop in itertools.pairwise(boundaries):
        assert chunked.partial_fit(x[start:stop]) is chunked
    assert chunked.fingerprint == whole.fingerprint
    assert chunked.n_seen == whole.n_seen == 300
    np.testing.assert_array_equal(chunked.encode(x).data, whole.encode(x).data)


@pytest.mark.parametrize(("rotation", "center"), [("orthogonal", "median"), ("itq", "mean"), ("itq", None)])
def test_chunks_make_no_difference_beyond_the_sample_size(monkeypatch, backend, rotation, center):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 60)
    x = projections.data(1000)
    whole = projections.quantizer(rotation, center).fit(x)
    for size in (1, 59, 60, 61, 121, 999):
        chunked = projections.quantizer(rotation, center)
        for start in range(0, 1000, size):
            chunked.partial_fit(x[start : start + size])
        assert chunked.fingerprint == whole.fingerprint


def test_using_the_quantizer_between_chunks_makes_no_difference(backend):
    x = projections.data()
    whole = projections.quantizer("orthogonal", "median").fit(x)
    chunked = projections.quantizer("orthogonal", "median").partial_fit(x[:100])
    early = chunked.fingerprint
    chunked.encode(x)
    chunked.partial_fit(x[100:])
    assert chunked.fingerprint == whole.fingerprint != early


def test_fit_forgets_what_was_fitted_before(backend):
    x = projections.data()
    fitted = projections.quantizer("gaussian", "median").fit(projections.data(50, seed=9))
    assert fitted.fit(x).fingerprint == projections.quantizer("gaussian", "median").fit(x).fingerprint
    narrow = hn.BinaryQuantizer(8).fit(x)
    assert narrow.fit(x[:, :9]).dim == 9


def test_chunks_may_come_from_different_frameworks(framework, backend):
    x = projections.data()
    whole = projections.quantizer("orthogonal", "median").fit(x)
    mixed = projections.quantizer("orthogonal", "median").partial_fit(x[:100])
    assert mixed.partial_fit(framework.array(x[100:])).fingerprint == whole.fingerprint


class TestThresholds:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("rotation", ROTATIONS)
    def test_mean_thresholds_come_from_float64_sums(self, backend, rotation, dtype):
        """Float32 sums of thousands of values around 1000 would be off by far more than the tolerance."""
        x = (np.random.default_rng(2).standard_normal((5000, 40)) + 1000).astype(dtype)
        mean = np.array([math.fsum(column) for column in x.astype(np.float64).T]) / len(x)
        fitted = projections.quantizer(rotation, "mean").fit(x)
        np.testing.assert_allclose(fitted.thresholds, projections.matrix(fitted) @ mean, rtol=1e-11, atol=1e-9)

    @pytest.mark.parametrize("n", [200, 201])
    @pytest.mark.parametrize("rotation", ROTATIONS)
    def test_median_bits_are_balanced(self, backend, rotation, n):
        x = projections.data(n)
        share = bits(projections.quantizer(rotation, "median").fit_encode(x)).mean(axis=0)
        assert np.all(np.abs(share - 0.5) <= 1 / n)

    def test_medians_of_a_sample_are_close_to_the_medians(self, monkeypatch):
        monkeypatch.setattr(module, "SAMPLE_ROWS", 2000)
        x = projections.data(20_000)
        share = bits(projections.quantizer("orthogonal", "median").fit_encode(x)).mean(axis=0)
        # the rank of a sample median has a standard error of 1 / (2 sqrt(2000)) = 1.1 %
        assert np.all(np.abs(share - 0.5) < 6.5 * 0.0112)
        assert np.any(np.abs(share - 0.5) > 1e-4)

    def test_without_centering_they_are_zero(self):
        fitted = projections.quantizer("gaussian", None).fit(projections.data())
        assert not fitted.thresholds.any()

    def test_they_are_a_copy(self, backend):
        x = projections.data()
        fitted = projections.quantizer("orthogonal", "mean").fit(x)
        before = fitted.encode(x).data
        fitted.thresholds[:] = 1e9
        np.testing.assert_array_equal(fitted.encode(x).data, before)

    def test_centering_keeps_0_1_data_from_collapsing(self, backend):
        """Sign without centering maps all 0/1 rows to one code."""
        x = (np.random.default_rng(0).random((500, 16)) < 0.5).astype(np.float32)
        with pytest.warns(hn.ConstantBitWarning):
            collapsed = hn.BinaryQuantizer(16, rotation="identity", center=None).fit_encode(x)
        assert len(np.unique(collapsed.data, axis=0)) == 1
        centered = hn.BinaryQuantizer(16, rotation="identity", center="mean").fit_encode(x)
        np.testing.assert_array_equal(bits(centered), x == 1)


class TestConstantBits:
    def collapsed(self, n: int = 200) -> np.ndarray:
        x = np.random.default_rng(1).standard_normal((n, 8)).astype(np.float32)
        x[:, [2, 5]] = np.abs(x[:, [2, 5]])
        return x

    def test_they_are_counted_and_the_warning_points_at_the_caller(self, backend):
        text = (
            r"2 of 8 bits are constant over the data \(bit 2 first\) and tell nothing; center='mean' or 'median' would"
        )
        x = self.collapsed()
        quantizer = hn.BinaryQuantizer(8, rotation="identity", center=None)
        for call in (quantizer.fit, quantizer.fit_encode, lambda x: quantizer.partial_fit(x).encode(x)):
            with pytest.warns(hn.ConstantBitWarning, match=text) as caught:
                call(x)
            assert [w.filename for w in caught] == [__file__]

    def test_a_constant_column_is_seen_under_centering_too(self, backend):
        x = self.collapsed()
        x[:, 3] = 7
        with pytest.warns(
            hn.ConstantBitWarning, match=r"1 of 8 bits are constant over the data \(bit 3 first\).*nothing$"
        ):
            hn.BinaryQuantizer(8, rotation="identity").fit(x)

    def test_large_data_speak_of_a_sample(self, monkeypatch, backend):
        monkeypatch.setattr(module, "_PROBE_ROWS", 100)
        with pytest.warns(hn.ConstantBitWarning, match="constant over a sample of 100 rows"):
            hn.BinaryQuantizer(8, rotation="identity", center=None).fit(self.collapsed(1000))

    @pytest.mark.parametrize("center", CENTERS)
    def test_sorted_data_raise_no_false_warning(self, backend, center):
        """The first thousands of rows have one sign: a probe of the beginning would take their bit for constant."""
        x = np.random.default_rng(3).standard_normal((12_000, 4)).astype(np.float32)
        hn.BinaryQuantizer(4, rotation="identity", center=center).fit(x[np.argsort(x[:, 0])])

    def test_one_row_is_no_evidence(self, backend):
        hn.BinaryQuantizer(8, center=None).fit(self.collapsed(1))

    def test_turned_into_an_error_it_leaves_the_quantizer_as_it_was(self):
        quantizer = hn.BinaryQuantizer(8, rotation="identity", center=None)
        with pytest.raises(hn.ConstantBitWarning):  # warnings are errors in these tests
            quantizer.fit(self.collapsed())
        with pytest.raises(hn.NotFittedError):
            quantizer.encode(self.collapsed())


class TestRowSample:
    @given(n=st.integers(1, 400), size=st.integers(1, 60), seed=st.integers(0, 2**70), data=st.data())
    def test_chunks_make_no_difference(self, n, size, seed, data):
        rows = np.arange(n, dtype=np.float32)[:, None]
        whole = RowSample(size, seed)
        whole.add(rows)
        chunked = RowSample(size, seed)
        boundaries = data.draw(strategies.cuts(n))
        for start, stop in itertools.pairwise(boundaries):
            chunked = chunked.copy()
            chunked.add(rows[start:stop])
            if data.draw(st.booleans()):
                assert len(chunked.rows) == min(size, stop)
        np.testing.assert_array_equal(chunked.rows, whole.rows)
        numbers = whole.rows[:, 0]
        assert len(set(numbers)) == min(n, size)
        assert np.all(np.diff(numbers) > 0)

    def test_a_copy_goes_its_own_way(self):
        sample = RowSample(5, 0)
        sample.add(np.zeros((40, 1)))
        before = sample.rows.copy()
        other = sample.copy()
        other.add(np.ones((400, 1)))
        assert other.rows.any()
        np.testing.assert_array_equal(sample.rows, before)
        assert sample.seen == 40

    def test_every_row_is_as_likely(self):
        """Each of 50 rows is in 20 % of the samples: 400 +- 6.5 standard deviations of 17.9 over 2000 seeds."""
        counts = np.zeros(50)
        for seed in range(2000):
            sample = RowSample(10, seed)
            sample.add(np.arange(50)[:, None])
            counts[sample.rows[:, 0]] += 1
        assert counts.sum() == 20_000
        assert np.all(np.abs(counts - 400) < 6.5 * 17.9)

    def test_memory_stays_bounded(self):
        sample = RowSample(100, 0)
        block = np.zeros((500, 100))
        for _ in range(40):
            sample.add(block)
            assert sum(len(rows) for _, _, rows in sample._chunks) <= 200


class TestStreams:
    @pytest.mark.parametrize("dtype", [np.float16, np.dtype(np.float32).newbyteorder()], ids=["half", "byte-swapped"])
    def test_a_memory_map_is_read_block_by_block(self, tmp_path, backend, dtype):
        """As float32 the matrix takes 160 MB; fitting and encoding may hold a third of it."""
        shape = (20_000, 2000)
        x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype, shape)
        rng = np.random.default_rng(0)
        for start in range(0, len(x), 1000):
            x[start : start + 1000] = rng.standard_normal((1000, 2000), dtype=np.float32)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
        quantizer = hn.BinaryQuantizer(8)
        quantizer.fit(x[:300]).encode(x[:300])  # imports and compiles
        tracemalloc.start()
        try:
            codes = quantizer.fit(x).encode(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < shape[0] * shape[1] * 4 / 3
        inside = hn.BinaryQuantizer(8).fit(x[:300].astype(np.float32))
        np.testing.assert_array_equal(
            inside.encode(x[:300]).data, hn.BinaryQuantizer(8).fit(x[:300]).encode(x[:300]).data
        )
        np.testing.assert_array_equal(quantizer.encode(np.asarray(x[-300:], np.float32)).data, codes.data[-300:])


LATE_NAN = np.ones((1200, 4096), np.float16)  # more than one block of rows
LATE_NAN[:, 0] = np.linspace(-1, 1, 1200)
LATE_NAN[1100, 7] = np.nan


class TestFailedCalls:
    def fitted(self) -> hn.BinaryQuantizer:
        return hn.BinaryQuantizer(40, center="median").fit(projections.data())

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_they_leave_a_fitted_quantizer_unchanged(self, backend, method):
        x = projections.data()
        bad = x.copy()
        bad[250, 1] = np.inf
        quantizer = self.fitted()
        for wrong in (bad, np.empty((0, 40), np.float32), x.astype(np.int32), x[0], [[1.0]]):
            with pytest.raises((TypeError, ValueError)):
                getattr(quantizer, method)(wrong)
        assert quantizer.fingerprint == self.fitted().fingerprint
        assert quantizer.n_seen == 300
        more = projections.data(seed=5)
        assert quantizer.partial_fit(more).fingerprint == self.fitted().partial_fit(more).fingerprint

    def test_partial_fit_of_other_dimensions_is_refused(self, backend):
        quantizer = self.fitted()
        with pytest.raises(ValueError, match="x has 39 dimensions, but the quantizer was fitted on 40"):
            quantizer.partial_fit(projections.data(d=39))
        assert quantizer.fingerprint == self.fitted().fingerprint

    @pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_encode"])
    def test_a_first_fit_that_fails_in_a_late_block_leaves_it_unfitted(self, backend, method):
        quantizer = hn.BinaryQuantizer(16)
        with pytest.raises(ValueError, match=r"x holds NaN or infinity, first in row 1100$"):
            getattr(quantizer, method)(LATE_NAN)
        assert quantizer.dim is None
        assert quantizer.n_seen == 0
        assert "not fitted" in repr(quantizer)
        with pytest.raises(hn.NotFittedError):
            quantizer.encode(projections.data())
        x = projections.data()  # of other dimensions
        assert quantizer.partial_fit(x).fingerprint == hn.BinaryQuantizer(16).fit(x).fingerprint

    @pytest.mark.parametrize(("rotation", "n_bits"), [("identity", 41), ("identity", 39), ("itq", 41)])
    def test_a_first_fit_with_dimensions_that_do_not_fit_the_rotation(self, rotation, n_bits):
        quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation)
        for method in (quantizer.fit, quantizer.partial_fit):
            with pytest.raises(ValueError, match=f"rotation='{rotation}' needs n_bits .* got n_bits={n_bits} and d=40"):
                method(projections.data())
        assert quantizer.dim is None

    def test_before_fit_everything_that_needs_it_raises(self, tmp_path):
        quantizer = hn.BinaryQuantizer(8)
        for call in (
            lambda: quantizer.encode(projections.data()),
            lambda: quantizer.project(projections.data()),
            lambda: quantizer.thresholds,
            lambda: quantizer.fingerprint,
            lambda: quantizer.save(tmp_path / "q"),
        ):
            with pytest.raises(hn.NotFittedError, match="not fitted yet; call fit or partial_fit first"):
                call()
        assert list(tmp_path.iterdir()) == []
        assert issubclass(hn.NotFittedError, ValueError)

    def test_encoding_other_dimensions_is_refused(self, framework):
        x = framework.array(np.zeros((3, 39), np.float32))
        for call in (self.fitted().encode, self.fitted().project):
            with pytest.raises(ValueError, match="x has 39 dimensions, but the quantizer was fitted on 40"):
                call(x)


class TestArguments:
    @pytest.mark.parametrize("n_bits", [0, -1])
    def test_n_bits_is_positive(self, n_bits):
        with pytest.raises(ValueError, match=f"n_bits must be at least 1, got {n_bits}"):
            hn.BinaryQuantizer(n_bits)

    @pytest.mark.parametrize("n_bits", [8.0, "8", None, True])
    def test_n_bits_is_an_integer(self, n_bits):
        with pytest.raises(TypeError, match="n_bits must be an integer"):
            hn.BinaryQuantizer(n_bits)

    def test_rotation_and_center_are_among_the_known(self):
        with pytest.raises(ValueError, match=r"rotation must be one of \['orthogonal', .*got 'haar'"):
            hn.BinaryQuantizer(8, rotation="haar")
        with pytest.raises(ValueError, match=r"center must be one of \['mean', 'median', None\], got 'mode'"):
            hn.BinaryQuantizer(8, center="mode")
        with pytest.raises(TypeError, match="center must be one of"):
            hn.BinaryQuantizer(8, center=0)
        with pytest.raises(ValueError, match="rotation must be one of"):
            hn.BinaryQuantizer(8, rotation=None)

    def test_seed_is_an_integer_from_0(self):
        with pytest.raises(ValueError, match="seed must be at least 0"):
            hn.BinaryQuantizer(8, seed=-1)
        with pytest.raises(TypeError, match="seed must be an integer"):
            hn.BinaryQuantizer(8, seed=1.5)

    def test_an_unknown_backend_in_the_environment_raises(self, monkeypatch):
        monkeypatch.setenv("HASHNEG_BACKEND", "fpga")
        with pytest.raises(ValueError, match="HASHNEG_BACKEND must be one of"):
            hn.BinaryQuantizer(8).fit(projections.data())
