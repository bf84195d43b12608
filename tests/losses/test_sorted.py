"""SortedNCE and GroCo against plain loops over lists."""

import numpy as np
import pytest

from hashneg import losses, sorting

RNG = np.random.default_rng(0)
A, Z = RNG.standard_normal((2, 6, 5))
SCORES = RNG.standard_normal((6, 6))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def plain_sorted_nce(lists, m, t):
    """lists[i, k]: cosine of anchor i with the k-th of its list."""
    total = 0.0
    for row in lists / t:
        for k in range(m):
            total -= np.log(np.exp(row[k]) / (np.exp(row[k]) + np.exp(row[m:]).sum()))
    return total / (len(lists) * m)


def test_m_1_is_info_nce_on_the_sorted_list():
    order = np.argsort(-SCORES, axis=1)
    found = losses.sorted_nce(A, Z, SCORES, m=1, temperature=0.3, hard=True)
    lists = np.take_along_axis(unit(A) @ unit(Z).T, order, axis=1) / 0.3
    assert found == pytest.approx(np.mean(np.log(np.exp(lists).sum(axis=1)) - lists[:, 0]), rel=1e-12)
    assert found == pytest.approx(plain_sorted_nce(lists, 1, 1.0), rel=1e-12)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_top_m_form_is_the_full_form_where_the_order_is_hard(m):
    full = sorting.sorted_gather(sorting.softsort(SCORES, 0.1, hard=True), unit(Z))  # (n, n, d)
    lists = (full * unit(A)[:, None]).sum(axis=-1)
    found = losses.sorted_nce(A, Z, SCORES, m=m, temperature=0.3, hard=True)
    assert found == pytest.approx(plain_sorted_nce(lists, m, 0.3), rel=1e-12)


def test_the_head_is_mixed_softly_and_the_tail_is_a_set():
    m, head = 2, unit(sorting.softsort(SCORES, 0.7) @ unit(Z))[:, :2]
    tail = np.argsort(-SCORES, axis=1)[:, m:]
    lists = np.concatenate(
        [(head * unit(A)[:, None]).sum(axis=-1), np.take_along_axis(unit(A) @ unit(Z).T, tail, axis=1)], axis=1
    )
    found = losses.sorted_nce(A, Z, SCORES, m=m, temperature=0.3, sort_temperature=0.7)
    assert found == pytest.approx(plain_sorted_nce(lists, m, 0.3), rel=1e-12)


def test_cold_soft_sort_tends_to_the_hard_one():
    soft = losses.sorted_nce(A, Z, SCORES, m=3, sort_temperature=1e-6)
    assert soft == pytest.approx(losses.sorted_nce(A, Z, SCORES, m=3, hard=True), rel=1e-9)


@pytest.mark.parametrize("negatives", [None, RNG.standard_normal((4, 5)), RNG.standard_normal((6, 3, 5))])
def test_groco_is_the_cross_entropy_of_both_groups(negatives):
    """Written with the whole matrix and both groups of ranks, as its authors do."""
    pairs, k, total = losses.similarities(A, Z, negatives), 4, 0.0
    for i in range(6):
        hardest = np.sort(pairs.cosine[i][pairs.mask[i]])[-k:]
        row = np.append(hardest, pairs.positive[i])
        p = sorting.sorting_network(-row, 1.0)  # descending of -row: ascending of row
        is_positive = np.arange(k + 1) == k
        for ranks, truth in ((slice(k, None), is_positive), (slice(None, k), ~is_positive)):
            share = p[ranks].sum(axis=0)
            total -= np.mean(np.where(truth, np.log(share), np.log(1 - share))) / 2
    assert losses.groco(A, Z, negatives, n_negatives=k) == pytest.approx(total / 6, rel=1e-10)


def test_groco_symmetric_is_the_mean_of_both_sides():
    both = losses.groco(A, Z, n_negatives=3, symmetric=True)
    assert both == pytest.approx((losses.groco(A, Z, n_negatives=3) + losses.groco(Z, A, n_negatives=3)) / 2)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="m=6 positives leave no negative among c=6 candidates"):
        losses.sorted_nce(A, Z, SCORES, m=6)
    with pytest.raises(ValueError, match=r"scores must have shape \(6, 6\)"):
        losses.sorted_nce(A, Z, SCORES[:5])
    with pytest.raises(ValueError, match="must share d"):
        losses.sorted_nce(A, Z[:, :3], SCORES)
    with pytest.raises(ValueError, match="n_negatives=6 is more than the 5 negatives an anchor has"):
        losses.groco(A, Z, n_negatives=6)
    with pytest.raises(ValueError, match="symmetric=True needs negatives of shape"):
        losses.groco(A, Z, np.ones((6, 2, 5)), n_negatives=2, symmetric=True)
