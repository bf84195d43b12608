// Signs of projected embeddings as packed codes. TYPE: 0 float, 1 double, 2 half, 3 bfloat16.

#include "common.cuh"

#if TYPE == 0
using Number = float;
__device__ inline float value_of(Number x) { return x; }
#elif TYPE == 1
using Number = double;
__device__ inline double value_of(Number x) { return x; }
#elif TYPE == 2
using Number = unsigned short;
__device__ inline float value_of(Number x) {  // exponent and fraction moved to a float's, whose bias is 112 higher
    const float size = __uint_as_float((u32)(x & 0x7fff) << 13) * __uint_as_float((254u - 15u) << 23);
    return x & 0x8000 ? -size : size;
}
#else
using Number = unsigned short;
__device__ inline float value_of(Number x) { return __uint_as_float((u32)x << 16); }
#endif

#if TYPE == 1
using Threshold = double;
#else
using Threshold = float;
#endif

// codes (m, width): bit i of a row is 1 where values[row, i] >= thresholds[i]; values has rows of `stride` numbers.
// A warp takes 32 neighbouring bits of a row.
extern "C" __global__ void pack_signs(const Number *values, i64 stride, const Threshold *thresholds, i64 m, int n_bits,
                                      i64 width, u8 *codes) {
    const int words = (n_bits + WARP - 1) / WARP;
    const i64 word = thread_number() / WARP;
    if (word >= m * words) return;
    const i64 row = word / words;
    const int first = (int)(word % words) * WARP, bit = first + lane_id();
    const bool one = bit < n_bits && value_of(values[row * stride + bit]) >= thresholds[bit];
    const u32 bits = __ballot_sync(ALL_LANES, one);
    const i64 byte = first / 8 + lane_id();
    if (lane_id() < 4 && byte < width) codes[row * width + byte] = (u8)(bits >> 8 * lane_id());
}
