"""The statistical tests taken together: how often the suite fails by chance, and what it cannot miss."""

from pathlib import Path

import numpy as np
import pytest
from helpers import chance

HERE = Path(__file__).parent


def test_the_whole_suite_fails_by_chance_less_than_once_in_a_million_runs():
    assert sum(check.false_alarm for check in chance.TABLE.values()) < 1e-6


@pytest.mark.parametrize("name", chance.TABLE)
def test_every_check_is_sure_to_catch_the_error_it_states(name):
    assert chance.TABLE[name].power > 0.999


def test_every_check_of_the_table_is_used():
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    assert [name for name in chance.TABLE if f'"{name}"' not in tests] == []


@pytest.mark.parametrize("check", chance.TABLE)
def test_a_check_passes_on_what_is_expected_and_fails_on_the_error_it_states(check):
    row = chance.TABLE[check]
    samples = np.random.default_rng(0).standard_normal(row.samples) * row.deviation
    chance.assert_mean(check, samples, 0.0)
    with pytest.raises(AssertionError, match="expected"):
        chance.assert_mean(check, samples, row.error)
    with pytest.raises(AssertionError, match="above"):
        chance.assert_at_most(check, samples, -row.error)
    with pytest.raises(AssertionError, match="fewer samples"):
        chance.assert_mean(check, samples[1:], 0.0)
