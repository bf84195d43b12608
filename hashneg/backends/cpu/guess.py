"""A first limit for every query, guessed on a sample of the blocks, so that few rows survive from the start.

The guess is the distance of the row of a certain rank in the sample, a few standard deviations beyond the rank
expected of the k-th best. The counters of the sampled blocks are kept bit-sliced, and the row of a rank is found
by going down their planes, all lanes at once. Where fewer than k rows lie within the guess, it was too low: the
caller searches again without one.
"""

from __future__ import annotations

import numpy as np

from hashneg.backends.cpu import selection
from hashneg.backends.cpu.forest import BASE, FACTOR, FLIPPED, NEXT, PARITY, QUERY, TARGET
from hashneg.backends.cpu.selection import ANY, LIMIT
from hashneg.backends.cpu.vectors import kernel, load64, lowest_bit, popcount
from hashneg.backends.cpu.visit import FAR, aim_all, run_node, start_of

_BLOCKS_A_SAMPLE = 24  # one block of so many is sampled
_MOST_SAMPLED = 32
_FEWEST_BLOCKS = 4


def sampled_blocks(first_block: int, last_block: int) -> np.ndarray:
    """Blocks that stand for first_block..last_block-1; none where a guess does not pay."""
    n = last_block - first_block
    if n < _FEWEST_BLOCKS:
        return np.empty(0, np.int64)
    count = int(np.clip(n // _BLOCKS_A_SAMPLE, 1, _MOST_SAMPLED))
    return first_block + (2 * np.arange(count) + 1) * n // (2 * count)


def rank_to_guess(k: int, n_sampled: int, n_blocks: int) -> int:
    """The rank in the sample within which k rows of all blocks lie, most probably."""
    expected = k * n_sampled / n_blocks
    return int(expected + 3 * np.sqrt(expected)) + 2


@kernel
def guess_limits(
    planes, words, blocks, sample, gaps, n_bits, nodes, offsets, plans, slots, masks, order, rank, state, kept, marks,
    limits,
):  # fmt: skip
    """Lower the limits of the queries to the distance of the allowed row of a rank in the sample.

    Query q passes over block sample[s] where gaps[q, s] is `FAR`, if there are gaps.

    `kept`, uint64 (nq, sampled, (planes + 1) * words), and `marks`, uint64 (2, sampled * words), are scratch. The
    limits in `state` are lost.
    """
    n_words, slot_words = len(words), (len(planes) + 1) * len(words)
    blocks_at, slots_at = np.intp(blocks.ctypes.data), np.intp(slots.ctypes.data)
    block_bytes = blocks.shape[1] * 8 * n_words
    state[:, LIMIT] = n_bits  # marks every lane that may be returned
    aim_all(nodes, plans, state, n_bits)
    kept[:] = np.uint64(0)
    offsets_at, nodes_at = np.intp(offsets.ctypes.data), np.intp(nodes.ctypes.data)
    for s in range(len(sample)):
        block_at = blocks_at + sample[s] * block_bytes
        even_at = block_at + (n_bits + 1) * 8 * n_words
        start_at = start_of(planes, words, even_at, slots_at, plans)
        i = 0
        while i < len(nodes):
            node_at = nodes_at + i * 8 * nodes.shape[1]
            q = nodes[i, QUERY]
            if q >= 0 and gaps.shape[1] and gaps[q, s] == FAR:
                i += 1
                continue
            if not run_node(planes, words, offsets[0], block_at, even_at, start_at, node_at, offsets_at, slots_at):
                i = nodes[i, NEXT]
                continue
            if q >= 0:
                found_at = slots_at + 8 * nodes[i, TARGET] * slot_words
                for w in range(slot_words):
                    kept[q, s, w] = load64(found_at + 8 * w)
            i += 1
    for q in range(len(plans)):
        wanted = rank
        while True:
            enough, value = _nearest(kept, q, len(planes), n_words, plans[q, FLIPPED], wanted, marks)
            if not enough:
                break
            if not masks[ANY] or _allowed(masks, q, sample, order, n_words, marks[1]) >= rank:
                limits[q] = min(limits[q], plans[q, BASE] + max(0, plans[q, PARITY]) + plans[q, FACTOR] * value)
                break
            wanted *= 4


@kernel
def _nearest(kept, q, n_planes, n_words, flipped, wanted, marks):
    """Mark the `wanted` lanes of nearest counters, with all ties, in marks[1].

    Returns whether there are so many, and the counter of the last of them.
    """
    n_sampled = kept.shape[1]
    candidates, chosen = marks[0], marks[1]
    chosen[:] = np.uint64(0)
    flip = np.uint64(flipped)
    for s in range(n_sampled):
        for w in range(n_words):
            candidates[s * n_words + w] = kept[q, s, n_planes * n_words + w]
    total = 0
    for w in range(len(candidates)):
        total += popcount(candidates[w])
    if total < wanted:
        return False, 0
    value = 0
    for p in range(n_planes - 1, -1, -1):
        nearer = 0
        for s in range(n_sampled):
            for w in range(n_words):
                nearer += popcount(candidates[s * n_words + w] & (kept[q, s, p * n_words + w] ^ flip))
        if nearer >= wanted:
            value |= 0 if flipped else 1 << p
            for s in range(n_sampled):
                for w in range(n_words):
                    candidates[s * n_words + w] &= kept[q, s, p * n_words + w] ^ flip
        else:
            wanted -= nearer
            value |= 1 << p if flipped else 0
            for s in range(n_sampled):
                for w in range(n_words):
                    bits = kept[q, s, p * n_words + w] ^ flip
                    chosen[s * n_words + w] |= candidates[s * n_words + w] & bits
                    candidates[s * n_words + w] &= ~bits
    for w in range(len(candidates)):
        chosen[w] |= candidates[w]
    return True, value


@kernel
def _allowed(masks, q, sample, order, n_words, chosen):
    """How many of the marked lanes are not excluded."""
    count = 0
    for s in range(len(sample)):
        for w in range(n_words):
            lanes = chosen[s * n_words + w]
            while lanes:
                position = (sample[s] * n_words + w) * 64 + lowest_bit(lanes)
                lanes &= lanes - np.uint64(1)
                if not selection.is_excluded(masks, q, order[position] if len(order) else position):
                    count += 1
    return count
