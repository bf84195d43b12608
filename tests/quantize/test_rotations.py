"""What the rotations are: orthonormal, Haar-distributed, independent between blocks, learned."""

import itertools

import numpy as np
import pytest
from helpers import projections
from helpers.projections import bits

import hashneg as hn
from hashneg.quantize import itq, rotations

# A statistic of fixed seeds either passes for ever or never. The bounds are set so that a right program
# would have failed with a probability below 1e-9 when the seeds were chosen.
_LOG = np.log(2 / 1e-9)


def hoeffding(n: int) -> float:
    """A mean of n independent values in [0, 1] strays farther than this with probability < 1e-9."""
    return np.sqrt(_LOG / (2 * n))


def kolmogorov(sample: np.ndarray, cdf) -> float:
    """sup |F_n - F|; by the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart it too obeys `hoeffding`."""
    sample = np.sort(sample)
    n = len(sample)
    steps = np.arange(n + 1) / n
    return max(np.max(steps[1:] - cdf(sample)), np.max(cdf(sample) - steps[:-1]))


@pytest.mark.parametrize(("n_bits", "d"), [(1, 1), (5, 1), (8, 8), (3, 8), (8, 3), (64, 48), (100, 48), (96, 48)])
def test_orthogonal_rows_are_orthonormal_within_each_block(n_bits, d):
    matrix = rotations.orthogonal(n_bits, d, seed=5)
    assert matrix.shape == (n_bits, d)
    for first in range(0, n_bits, d):
        block = matrix[first : first + d]
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-13)


def test_blocks_beyond_d_are_independent_of_each_other():
    d, blocks = 4, 3000
    stack = rotations.orthogonal(d * blocks, d, seed=1).reshape(blocks, d, d)
    assert len({block.tobytes() for block in stack}) == blocks
    # for independent Haar blocks, cosines between rows of neighbours are those of random directions: mean 0
    cosines = np.einsum("bij,bij->bi", stack[1:], stack[:-1])[::2].ravel()[::d]
    assert abs(np.mean((cosines + 1) / 2) - 0.5) < hoeffding(len(cosines))
    # in 4 dimensions a cosine has the density (2 / pi) sqrt(1 - t^2)
    assert kolmogorov(cosines, lambda t: 0.5 + (np.arcsin(t) + t * np.sqrt(1 - t * t)) / np.pi) < hoeffding(
        len(cosines)
    )


def test_a_shorter_code_is_the_beginning_of_a_longer_one_of_whole_blocks():
    long, short = rotations.orthogonal(24, 8, seed=2), rotations.orthogonal(16, 8, seed=2)
    np.testing.assert_array_equal(long[:16], short)


def _first_entries(make, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    stack = np.stack([make(seed) for seed in range(count)])
    return stack[:, 0, 0], np.linalg.det(stack)


def test_qr_without_the_sign_of_its_diagonal_is_not_haar():
    """In three dimensions an entry of a Haar rotation is uniform on [-1, 1]; both determinants are equally likely."""
    entries, determinants = _first_entries(lambda seed: rotations.orthogonal(3, 3, seed))
    bound = hoeffding(len(entries))
    assert kolmogorov(entries, lambda t: (t + 1) / 2) < bound
    assert abs(np.mean(determinants > 0) - 0.5) < bound


def test_the_haar_test_fails_for_plain_qr():
    def plain(seed: int) -> np.ndarray:
        return np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0].T

    entries, _ = _first_entries(plain)
    assert kolmogorov(entries, lambda t: (t + 1) / 2) > hoeffding(len(entries))


@pytest.mark.parametrize(("n_bits", "d"), [(1, 1), (16, 16), (16, 9), (40, 9), (100, 33)])
def test_hadamard_rows_are_orthonormal_in_the_padded_dimensions(n_bits, d):
    signs = rotations.hadamard_signs(n_bits, d, seed=3)
    width = signs.shape[2]
    assert d <= width < 2 * d
    assert width & (width - 1) == 0
    assert signs.shape == (-(-n_bits // width), 3, width)
    assert set(np.unique(signs)) <= {-1.0, 1.0}
    padded = hn.BinaryQuantizer(n_bits, rotation="hadamard", center=None, seed=3)
    padded.partial_fit(np.ones((1, width)))
    np.testing.assert_array_equal(padded._fitted().signs, signs)
    full = projections.matrix(padded)
    for first in range(0, n_bits, width):
        block = full[first : first + width]
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-12)


def test_hadamard_spreads_a_unit_vector_over_all_bits(backend):
    """One round of signs and transform maps a unit vector to entries of equal size; three make them random."""
    fitted = hn.BinaryQuantizer(64, rotation="hadamard", center=None).fit(
        np.random.default_rng(0).normal(size=(200, 64))
    )
    z = fitted.project(np.eye(64))
    assert len(np.unique(np.abs(z).round(9), axis=None)) > 10
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-12)


def test_gaussian_entries_are_normal_with_variance_1_over_d():
    from math import erf

    entries = rotations.gaussian(500, 40, seed=8).ravel() * np.sqrt(40)
    assert kolmogorov(entries, np.vectorize(lambda t: 0.5 + 0.5 * erf(t / np.sqrt(2)))) < hoeffding(len(entries))


@pytest.mark.parametrize("angle", [0.2, 1.1, 2.6])
@pytest.mark.parametrize(
    ("rotation", "d", "n_bits", "independent"), [("gaussian", 8, 20000, 20000), ("orthogonal", 3, 24000, 8000)]
)
def test_bits_collide_with_probability_1_minus_angle_over_pi(rotation, d, n_bits, independent, angle):
    x = np.zeros((2, d))
    x[0, 0], x[1, 0], x[1, 1] = 3.0, np.cos(angle), np.sin(angle)
    fitted = hn.BinaryQuantizer(n_bits, rotation=rotation, center=None)
    fitted.partial_fit(np.random.default_rng(0).standard_normal((50, d)))
    first, second = bits(fitted.encode(x))
    assert abs(np.mean(first == second) - (1 - angle / np.pi)) < hoeffding(independent)


class TestItq:
    def test_no_iteration_raises_the_loss(self):
        rng = np.random.default_rng(4)
        projected = rng.standard_normal((500, 12)) * np.linspace(3, 0.2, 12)
        rotation = rotations.orthogonal(12, 12, seed=0)
        losses = [itq.quantization_loss(projected, rotation)]
        for _ in range(30):
            rotation = itq._procrustes(projected, rotation)
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-12)
            losses.append(itq.quantization_loss(projected, rotation))
        assert all(late <= early * (1 + 1e-12) for early, late in itertools.pairwise(losses))
        assert losses[-1] < 0.95 * losses[0]

    def test_it_loses_less_than_random_rotations_of_the_principal_axes(self):
        x = projections.data(2000, dtype=np.float64)
        x -= x.mean(axis=0)
        learned = itq.learn(x, 16, seed=0)
        np.testing.assert_allclose(learned @ learned.T, np.eye(16), atol=1e-12)
        loss = itq.quantization_loss(x, learned.T)
        axes = np.linalg.svd(x, full_matrices=False)[2][:16].T
        random = [itq.quantization_loss(x @ axes, rotations.orthogonal(16, 16, seed)) for seed in range(20)]
        assert loss < min(random)
        assert loss < itq.quantization_loss(x @ axes, np.eye(16))

    def test_its_rows_span_the_first_principal_axes(self):
        x = projections.data(2000, dtype=np.float64)
        fitted = hn.BinaryQuantizer(10, rotation="itq").fit(x)
        axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:10]
        matrix = projections.matrix(fitted)
        np.testing.assert_allclose(matrix @ axes.T @ axes, matrix, atol=1e-10)

    def test_more_bits_than_dimensions_are_refused(self):
        with pytest.raises(ValueError, match=r"rotation='itq' needs n_bits <= d, got n_bits=9 and d=8"):
            hn.BinaryQuantizer(9, rotation="itq").fit(np.random.default_rng(0).standard_normal((20, 8)))

    def test_fewer_rows_than_bits_still_give_a_rotation(self):
        fitted = hn.BinaryQuantizer(8, rotation="itq").fit(np.random.default_rng(0).standard_normal((3, 8)))
        matrix = projections.matrix(fitted)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-12)


def test_identity_takes_the_axes_as_they_are(backend):
    x = projections.data(50, 13)
    x -= x.mean(axis=0)
    fitted = hn.BinaryQuantizer(13, rotation="identity", center=None).fit(x)
    np.testing.assert_array_equal(fitted.project(x), x)
    with pytest.raises(ValueError, match=r"rotation='identity' needs n_bits == d, got n_bits=12 and d=13"):
        hn.BinaryQuantizer(12, rotation="identity").fit(x)


@pytest.mark.parametrize("rotation", ["orthogonal", "gaussian", "hadamard", "itq"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(rotation):
    x = projections.data()
    encode = {seed: projections.quantizer(rotation, "mean", seed).fit_encode(x).data for seed in (0, 1, 2**70)}
    np.testing.assert_array_equal(projections.quantizer(rotation, "mean", 1).fit_encode(x).data, encode[1])
    for a, b in ((0, 1), (1, 2**70), (0, 2**70)):
        assert np.mean(encode[a] != encode[b]) > 0.3


def test_no_global_random_state_is_read_or_written():
    import random

    x = projections.data()
    codes = {}
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = (np.random.get_state()[1].tobytes(), np.random.get_state()[2:], random.getstate())  # noqa: NPY002
        for rotation in projections.ROTATIONS:
            codes[seed, rotation] = projections.quantizer(rotation, "median").fit_encode(x).data
        after = (np.random.get_state()[1].tobytes(), np.random.get_state()[2:], random.getstate())  # noqa: NPY002
        assert before == after
    for rotation in projections.ROTATIONS:
        np.testing.assert_array_equal(codes[1, rotation], codes[2, rotation])
