// Merge scores into the best so far. TYPE: of the scores, 0 float, 1 double.

#include "common.cuh"
#include "exclusions.cuh"
#include "numbers.cuh"

using Real = Number<TYPE>::Stored;

// best, found (nq, k): sorted by (-score, row), padded with row -1. scores (nq, n) are of the rows first, first + 1,
// ...: an equal score goes behind. A warp takes a query.
extern "C" __global__ void update_best(Real *best, i64 *found, i64 nq, i64 k, const Real *scores, i64 n, i64 first,
                                       EXCLUSION_PARAMETERS) {
    const i64 q = thread_number() / WARP;
    if (q >= nq) return;
    const Exclusions exclusions = EXCLUSIONS;
    Real *const top = best + q * k;
    i64 *const rows = found + q * k;
    i64 held = 0, high = k;  // rows that are real
    while (held < high) {
        const i64 middle = (held + high) / 2;
        if (rows[middle] < 0) high = middle;
        else held = middle + 1;
    }
    for (i64 start = 0; start < n; start += WARP) {
        const i64 j = start + lane_id();
        const Real score = j < n ? scores[q * n + j] : 0;
        bool better = j < n && score == score && (held < k || score > top[k - 1]);
        if (better) better = !exclusions.exclude_pair(q, first + j);
        for (u32 left = __ballot_sync(ALL_LANES, better); left; left &= left - 1) {
            const int from = __ffs(left) - 1;
            const Real now = __shfl_sync(ALL_LANES, score, from);
            i64 place = 0, end = held;  // behind all that score as much or more
            while (place < end) {
                const i64 middle = (place + end) / 2;
                if (top[middle] >= now) place = middle + 1;
                else end = middle;
            }
            if (place == k) continue;
            if (held < k) held++;
            for (i64 last = held - 1; last > place; last -= WARP) {  // move the tail by one, from its end
                const i64 i = last - lane_id();
                const bool moves = i > place;
                const Real old_score = moves ? top[i - 1] : 0;
                const i64 old_row = moves ? rows[i - 1] : 0;
                __syncwarp();  // every lane has read
                if (moves) {
                    top[i] = old_score;
                    rows[i] = old_row;
                }
                __syncwarp();
            }
            __syncwarp();  // every lane has searched
            if (lane_id() == 0) {
                top[place] = now;
                rows[place] = first + start + from;
            }
            __syncwarp();
        }
    }
}
