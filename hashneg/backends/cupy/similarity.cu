// Exact similarities. ANCHOR, ROW: the types of both, see numbers.cuh.

#include "common.cuh"
#include "numbers.cuh"

using First = Number<ANCHOR>::Stored;
using Second = Number<ROW>::Stored;

__device__ inline double sum_of_warp(double value) {
    for (int distance = WARP / 2; distance; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// scores[i, j]: similarity of anchor i with rows[which[i, j]], not a number where `which` names no row. A warp takes
// a pair. Products of float numbers are exact in double, and the order of the sum is fixed: equal rows score alike.
extern "C" __global__ void pair_scores(const First *anchors, const Second *rows, i64 n, i64 dim, const i64 *which,
                                       i64 pairs, i64 pairs_each, int cosine, float *scores) {
    const i64 pair = thread_number() / WARP;
    if (pair >= pairs) return;
    const i64 row = which[pair];
    if (row < 0 || row >= n) {
        if (lane_id() == 0) scores[pair] = __uint_as_float(0x7fc00000u);
        return;
    }
    const First *a = anchors + pair / pairs_each * dim;
    const Second *b = rows + row * dim;
    double dot = 0, own = 0, other = 0;
    for (i64 i = lane_id(); i < dim; i += WARP) {
        const double x = Number<ANCHOR>::value(a[i]), y = Number<ROW>::value(b[i]);
        dot += x * y;
        own += x * x;
        other += y * y;
    }
    dot = sum_of_warp(dot), own = sum_of_warp(own), other = sum_of_warp(other);
    if (cosine) dot = own > 0 && other > 0 ? dot / (sqrt(own) * sqrt(other)) : 0;
    if (lane_id() == 0) scores[pair] = (float)dot;
}
