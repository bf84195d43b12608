"""Checks of plain arguments, progress, and the counter-based hash."""

import io

import numpy as np
import pytest
from helpers.processes import run_python
from helpers.requirements import need

import hashneg as hn
from hashneg import checks
from hashneg.progress import Meter
from hashneg.randomness import mix64


class TestInteger:
    @pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
    def test_integral_values_become_int(self, value):
        assert type(checks.integer(value, "k")) is int
        assert checks.integer(value, "k") == 3

    @pytest.mark.parametrize("value", [3.0, "3", None, True, np.True_, [3], np.float64(3), np.array([3, 4])])
    def test_others_are_refused(self, value):
        with pytest.raises(TypeError, match=r"^k must be an integer, got"):
            checks.integer(value, "k")

    def test_the_minimum_is_allowed(self):
        assert checks.integer(1, "k", minimum=1) == 1
        with pytest.raises(ValueError, match=r"^k must be at least 1, got 0"):
            checks.integer(0, "k", minimum=1)


class TestReal:
    def test_numbers_become_float(self):
        for value in (1, 1.0, np.float32(1), np.int64(1), np.array(1.0)):
            assert type(checks.real(value, "probe")) is float

    @pytest.mark.parametrize("value", ["1", b"1", None, True, [1.0], 1j])
    def test_others_are_refused(self, value):
        with pytest.raises(TypeError, match=r"^probe must be a number"):
            checks.real(value, "probe")

    def test_nan_and_values_out_of_range_are_refused(self):
        with pytest.raises(ValueError, match="probe must not be NaN"):
            checks.real(float("nan"), "probe")
        for value in (-0.1, 1.1):
            with pytest.raises(ValueError, match=r"probe must be at (least 0|most 1)"):
                checks.real(value, "probe", minimum=0, maximum=1)
        assert checks.real(0, "probe", minimum=0, maximum=1) == 0
        assert checks.real(1, "probe", minimum=0, maximum=1) == 1


def test_warnings_point_at_the_first_line_outside_the_package():
    with pytest.warns(UserWarning, match="careful") as caught:
        checks.warn("careful")
    assert caught[0].filename == __file__


def test_validation_does_not_rest_on_assert():
    """Under ``python -O`` asserts vanish; wrong input must be refused all the same."""
    program = """
import numpy as np, hashneg as hn
assert False, "asserts are on"
x = np.ones((3, 4), np.float32)
x[1] = np.nan
codes = np.zeros((3, 1), np.uint8)
calls = [
    lambda: hn.Codes(codes, 9), lambda: hn.Codes(codes + 255, 5), lambda: hn.Codes(codes, 0),
    lambda: hn.BinaryQuantizer(4).fit(x), lambda: hn.BinaryQuantizer(4).encode(codes + 0.5),
    lambda: hn.BinaryQuantizer(5, rotation="identity").fit(x[:1]), lambda: hn.Codes.from_signs(x),
    lambda: hn.hamming_topk(codes, codes, 0), lambda: hn.hamming_topk(codes, codes[:, :0], 1),
    lambda: hn.hamming_topk(codes, codes, 1, query_ids=[9, 9, 9]),
    lambda: hn.hamming_topk(codes, codes, 1, query_labels=[1, 2, 3]),
    lambda: hn.mine_hard_negatives(x, k=1), lambda: hn.mine_hard_negatives(x[:1], k=0),
]
for number, call in enumerate(calls):
    try:
        call()
    except ValueError:
        continue
    print("accepted", number)
"""
    assert run_python(program, PYTHONOPTIMIZE="1").stdout == ""


class TestProgress:
    def test_a_callable_hears_of_every_step(self):
        heard = []
        with Meter(lambda done, total: heard.append((done, total)), 5, "work") as meter:
            meter.advance(2)
            meter.advance(3)
        assert heard == [(2, 5), (5, 5)]

    def test_false_shows_nothing_and_true_shows_a_bar(self, capsys):
        need("tqdm")
        with Meter(False, 2, "working") as meter:
            meter.advance(2)
        assert capsys.readouterr().err == ""
        with Meter(True, 2, "working") as meter:
            meter.advance(2)
        assert "working: 100%" in capsys.readouterr().err

    @pytest.mark.parametrize("progress", ["yes", 1, None, io.StringIO()])
    def test_anything_else_is_refused(self, progress):
        with pytest.raises(TypeError, match="progress must be a bool or a callable"):
            Meter(progress, 2, "work")

    def test_an_error_in_the_callable_stops_the_search(self, backend):
        codes = np.zeros((40, 2), np.uint8)

        def stop(done, total):
            raise InterruptedError("enough")

        with pytest.raises(InterruptedError, match="enough"):
            hn.hamming_topk(codes, codes, 2, progress=stop)


class TestMix64:
    def test_it_maps_no_two_values_to_one(self):
        hashed = mix64(np.arange(200_000), seed=1)
        assert hashed.dtype == np.uint64
        assert len(np.unique(hashed)) == 200_000

    def test_it_depends_on_value_and_seed_alone(self):
        whole = mix64(np.arange(100), seed=5)
        np.testing.assert_array_equal(mix64(np.arange(60, 70), seed=5), whole[60:70])
        assert not np.any(mix64(np.arange(100), seed=6) == whole)

    def test_a_shifted_seed_does_not_give_shifted_values(self):
        first = set(mix64(np.arange(10_000), seed=0).tolist())
        for seed in (1, 2, 3, 2**32):
            assert not first & set(mix64(np.arange(10_000), seed=seed).tolist())

    def test_every_bit_is_one_half_of_the_time(self):
        """Means of 20,000 bits stray farther than 0.0232 with probability < 1e-9 (Hoeffding)."""
        hashed = mix64(np.arange(20_000), seed=0)
        for bit in range(64):
            share = np.mean((hashed >> np.uint64(bit)) & np.uint64(1))
            assert abs(share - 0.5) < 0.0232
