// Signs of numbers as packed codes. TYPE: of the numbers, see numbers.cuh; thresholds are double for double, else float.

#include "common.cuh"
#include "numbers.cuh"

using Stored = Number<TYPE>::Stored;
using Threshold = decltype(Number<TYPE>::value(Stored()));

// codes (m, width): bit i of a row is 1 where values[row, i] >= thresholds[i]; values has rows of `stride` numbers.
// A warp takes 32 neighbouring bits of a row.
extern "C" __global__ void pack_signs(const Stored *values, i64 stride, const Threshold *thresholds, i64 m, int n_bits,
                                      i64 width, u8 *codes) {
    const int words = (n_bits + WARP - 1) / WARP;
    const i64 word = thread_number() / WARP;
    if (word >= m * words) return;
    const i64 row = word / words;
    const int first = (int)(word % words) * WARP, bit = first + lane_id();
    const bool one = bit < n_bits && Number<TYPE>::value(values[row * stride + bit]) >= thresholds[bit];
    const u32 bits = __ballot_sync(ALL_LANES, one);
    const i64 byte = first / 8 + lane_id();
    if (lane_id() < 4 && byte < width) codes[row * width + byte] = (u8)(bits >> 8 * lane_id());
}
