"""Every statistical test of the suite in one table: how often it fails by chance, and what it is sure to catch.

A test compares the mean of some samples with its expectation and fails beyond z standard errors. With hypothesis it
does so for several examples, and for several means in each; the table counts them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm


class Check(NamedTuple):
    """One statistical test.

    Attributes
    ----------
    examples, comparisons : int
        Examples that hypothesis draws (or parameters), and means compared in each, at most.
    alpha : float
        Probability that one comparison fails although all is well.
    samples : int
        Independent samples in each mean, at least.
    deviation : float
        Standard deviation of a sample, at most.
    error : float
        An error of the mean of this size is caught with the probability `power`.
    """

    examples: int
    comparisons: int
    alpha: float
    samples: int
    deviation: float
    error: float

    @property
    def z(self) -> float:
        return float(norm.isf(self.alpha / 2))

    @property
    def power(self) -> float:
        return float(norm.sf(self.z - self.error * np.sqrt(self.samples) / self.deviation))

    @property
    def false_alarm(self) -> float:
        return self.examples * self.comparisons * self.alpha


TABLE = {
    # the share of bits that differ; an orthonormal code of b bits has at most the variance 1/(4b) of independent ones
    "collision": Check(25, 1, 1e-10, 3000, 0.5 / 8**0.5, 0.04),
    "collision of each bit": Check(25, 96, 1e-11, 3000, 0.5, 0.12),
    # squared deviations of H over their expectation: sqrt(kurtosis - 1), the kurtosis of H being below 4
    "variance, orthonormal": Check(20, 1, 1e-10, 6000, 1.75, 0.25),
    "variance, independent": Check(10, 1, 1e-10, 6000, 1.75, 0.25),
    "variance, blocks": Check(1, 1, 1e-10, 1000, 1.75, 0.6),
    "binomial law": Check(6, 33, 1e-10, 6000, 0.5, 0.07),
    "blocks are uncorrelated": Check(1, 1, 1e-10, 1000, 1.3, 0.45),
    "three vectors, one bit": Check(15, 2, 1e-10, 4000, 0.5 / 8**0.5, 0.04),
    "overtaking is bounded": Check(15, 1, 1e-10, 4000, 0.5, 0.08),
    "interval covers": Check(6, 1, 1e-10, 4000, 0.22, 0.04),
    "cosine estimate": Check(10, 1, 1e-10, 6000, 0.3, 0.04),
    "sign-full, mean": Check(4, 1, 1e-10, 6000, 0.45, 0.06),
    "sign-full, variance": Check(4, 1, 1e-10, 6000, 3.0, 0.4),
    # errors of RaBitQ in units of their standard deviation; their squares have kurtosis below 3
    "RaBitQ, mean": Check(15, 1, 1e-10, 4000, 1.0, 0.2),
    "RaBitQ, variance": Check(15, 1, 1e-10, 4000, 1.5, 0.3),
    "RaBitQ, bound": Check(15, 1, 1e-10, 4000, 0.3, 0.06),
    "RaBitQ, centered": Check(3, 1, 1e-10, 4000, 1.2, 0.2),
}


def assert_mean(name: str, samples: np.ndarray, expected: float, slack: float = 0.0) -> None:
    """The mean of independent samples agrees with its expectation, up to a known bias `slack`.

    Raises
    ------
    AssertionError
        By chance with the probability `alpha` of the table.
    """
    check = TABLE[name]
    assert len(samples) >= check.samples, "fewer samples than the table says"
    deviation = max(samples.std(), 1 / np.sqrt(len(samples)))  # an event may be too rare to have happened
    error = check.z * deviation / np.sqrt(len(samples)) + slack
    mean = samples.mean()
    assert abs(mean - expected) <= error, f"{name}: mean {mean:.5f}, expected {expected:.5f} up to {error:.5f}"


def assert_at_most(name: str, samples: np.ndarray, limit: float) -> None:
    """The expectation of the samples is at most `limit`."""
    check = TABLE[name]
    assert len(samples) >= check.samples, "fewer samples than the table says"
    deviation = max(samples.std(), 1 / np.sqrt(len(samples)))
    error = check.z * deviation / np.sqrt(len(samples))
    assert samples.mean() <= limit + error, f"{name}: {samples.mean():.5f} is above {limit:.5f} by more than chance"
