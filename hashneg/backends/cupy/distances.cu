// All distances between two sets of codes, as words.

#include "common.cuh"

constexpr int THREADS = 128;

// out[q, row], popcount(q XOR row), or popcount(q AND NOT row). A thread takes a row and some queries.
extern "C" __global__ void __launch_bounds__(THREADS)
    distances(const u32 *queries, i64 nq, const u32 *rows, i64 n, int words, int projected, int queries_each, int *out) {
    const i64 row = thread_number();
    if (row >= n) return;
    const i64 first = (i64)blockIdx.y * queries_each, last = smaller(first + queries_each, nq);
    for (i64 q = first; q < last; q++) {
        int total = 0;
        for (int w = 0; w < words; w++) {
            const u32 query = queries[q * words + w], other = rows[row * words + w];
            total += __popc(projected ? query & ~other : query ^ other);
        }
        out[q * n + row] = total;
    }
}
