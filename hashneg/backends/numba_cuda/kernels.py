"""Kernels on packed codes: words, distances, and the counting sort that a search is.

Distances are small integers, so the nearest rows of a query are found by counting: how many rows lie at each
distance (`count`), where the rows of a distance begin among all (`rank_shares`, `rank_distances`), and then every
row goes straight to its place (`place`). Nothing is sorted, and nothing depends on the order in which threads run:
a share of the database is walked by one thread for each query, in index order, so ties go to the lower index.
"""

from __future__ import annotations

import numpy as np

from hashneg.backends.numba_cuda.device import cuda
from hashneg.backends.numba_cuda.masks import is_excluded
from hashneg.backends.request import NO_DISTANCE, NO_INDEX


@cuda.jit
def pack_words(codes, words):
    """words[row, w]: bytes 8 w to 8 w + 7 of a code, the first one lowest, with zeros beyond the end."""
    i = cuda.grid(1)
    if i >= words.size:
        return
    row, w = i // words.shape[1], i % words.shape[1]
    word = np.uint64(0)
    for byte in range(8 * w, min(8 * w + 8, codes.shape[1])):
        word |= np.uint64(codes[row, byte]) << np.uint64(8 * (byte - 8 * w))
    words[row, w] = word


@cuda.jit
def transpose(x, out):
    i = cuda.grid(1)
    if i < out.size:
        row, column = i // out.shape[1], i % out.shape[1]
        out[row, column] = x[column, row]


@cuda.jit
def number_blocks(order, block_rows, blocks):
    """blocks[row]: the block of a clustered database that a row lies in."""
    position = cuda.grid(1)
    if position < order.size:
        blocks[order[position]] = position // block_rows


@cuda.jit(device=True)
def distance(queries, q, rows, row, projected):
    """popcount(query XOR row), or popcount(query AND NOT row); queries (words, nq), rows (n, words)."""
    total = np.int64(0)
    for w in range(rows.shape[1]):
        query, other = queries[w, q], rows[row, w]
        differing = query & ~other if projected else query ^ other
        total += np.int64(cuda.popc(differing))
    return total


@cuda.jit
def all_distances(queries, rows, projected, out):
    i = cuda.grid(1)
    if i < out.size:
        q, row = i // out.shape[1], i % out.shape[1]
        out[q, row] = distance(queries, q, rows, row, projected)


@cuda.jit(device=True)
def is_hidden(q, row, alive, visited, blocks):
    """Whether a row was removed, or lies in a block that query q does not visit."""
    if alive.shape[0] > 0 and alive[row] == 0:
        return True
    return visited.shape[0] > 0 and visited[blocks[row], q] == 0


@cuda.jit
def count(
    queries, rows, share_rows, projected, k, max_distance, alive, visited, blocks,
    query_ids, query_labels, database_labels, exclude, allow, allow_is_packed, counts,
):  # fmt: skip
    """counts[share, distance, q]: how many rows of a share are that far from query q.

    As soon as k rows of the share lie within a distance, a later row as far as the last of them or farther is not
    counted: it loses every tie. What is not counted has k better rows, so no place below k is wrong.
    """
    i = cuda.grid(1)
    if i >= counts.shape[0] * counts.shape[2]:
        return
    share, q = i // counts.shape[2], i % counts.shape[2]
    for level in range(counts.shape[1]):
        counts[share, level, q] = 0
    limit = max_distance
    within = 0  # rows counted within the limit
    for row in range(share * share_rows, min((share + 1) * share_rows, rows.shape[0])):
        far = distance(queries, q, rows, row, projected)
        if far > limit or is_hidden(q, row, alive, visited, blocks):
            continue
        if is_excluded(q, row, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed):
            continue
        counts[share, far, q] += 1
        within += 1
        while within >= k:
            within -= counts[share, limit, q]
            limit -= 1


@cuda.jit
def rank_shares(counts, totals):
    """Turn counts[share, distance, q] into the rows that earlier shares hold at the distance; totals: all shares."""
    i = cuda.grid(1)
    if i >= totals.size:
        return
    level, q = i // totals.shape[1], i % totals.shape[1]
    before = 0
    for share in range(counts.shape[0]):
        here = counts[share, level, q]
        counts[share, level, q] = before
        before += here
    totals[level, q] = before


@cuda.jit
def rank_distances(totals, k, limits, found):
    """Turn totals[distance, q] into the rows nearer than the distance.

    limits[q] is the largest distance that has rows among the k nearest, found[q] how many rows there are, at most k.
    """
    q = cuda.grid(1)
    if q >= totals.shape[1]:
        return
    before = 0
    limits[q] = -1
    for level in range(totals.shape[0]):
        here = totals[level, q]
        totals[level, q] = before
        if here > 0 and before < k:
            limits[q] = level
        before += here
    found[q] = min(before, k)


@cuda.jit
def place(
    queries, rows, share_rows, projected, k, limits, alive, visited, blocks,
    query_ids, query_labels, database_labels, exclude, allow, allow_is_packed,
    places, nearer, begins, out_distances, out_rows,
):  # fmt: skip
    """Write the k nearest rows of query q, sorted, to out[begins[q]] and what follows.

    `places` and `nearer` are what `rank_shares` and `rank_distances` made of `counts` and `totals`.
    """
    i = cuda.grid(1)
    if i >= places.shape[0] * places.shape[2]:
        return
    share, q = i // places.shape[2], i % places.shape[2]
    for row in range(share * share_rows, min((share + 1) * share_rows, rows.shape[0])):
        far = distance(queries, q, rows, row, projected)
        if far > limits[q] or is_hidden(q, row, alive, visited, blocks):
            continue
        if is_excluded(q, row, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed):
            continue
        at = nearer[far, q] + places[share, far, q]
        places[share, far, q] += 1
        if at < k:
            out_distances[begins[q] + at] = far
            out_rows[begins[q] + at] = row


@cuda.jit
def pad(found, distances, rows):
    """Fill the columns beyond those found; rows and distances (nq, k)."""
    i = cuda.grid(1)
    if i < distances.size:
        q, column = i // distances.shape[1], i % distances.shape[1]
        if column >= found[q]:
            distances[q, column] = NO_DISTANCE
            rows[q, column] = NO_INDEX


@cuda.jit
def count_allowed(
    queries, rows, projected, max_distance, alive, visited, blocks, order, block_rows,
    query_ids, query_labels, database_labels, exclude, allow, allow_is_packed, allowed,
):  # fmt: skip
    """allowed[block, q]: how many rows of a block of a clustered database query q may return."""
    i = cuda.grid(1)
    if i >= allowed.size:
        return
    block, q = i // allowed.shape[1], i % allowed.shape[1]
    held = 0
    for position in range(block * block_rows, min((block + 1) * block_rows, rows.shape[0])):
        row = order[position]
        if is_hidden(q, row, alive, visited, blocks):
            continue
        if is_excluded(q, row, query_ids, query_labels, database_labels, exclude, allow, allow_is_packed):
            continue
        if distance(queries, q, rows, row, projected) <= max_distance:
            held += 1
    allowed[block, q] = held


@cuda.jit
def visit(order, allowed, least, k, visited):
    """visited[block, q]: 1 for the first `least` blocks in the order of query q, and on until k rows are held."""
    q = cuda.grid(1)
    if q >= visited.shape[1]:
        return
    held = 0
    for i in range(visited.shape[0]):
        block = order[q, i]
        if i < least or held < k:
            held += allowed[block, q]
            visited[block, q] = 1
        else:
            visited[block, q] = 0
