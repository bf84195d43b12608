// Rotate by a dense matrix, subtract the thresholds, and write numbers or packed signs. ROW: the type of the rows, see
// numbers.cuh; the matrix and the results are double for double, else float.
//
// Every number is one thread's sum over the dimensions, in their order, so that a row's bits depend on nothing but the
// row: a library's product may round a row differently when there are others, or when it stands elsewhere.

#include "common.cuh"
#include "numbers.cuh"

using Stored = Number<ROW>::Stored;
using Real = decltype(Number<ROW>::value(Stored()));

constexpr int SIDE = 16, EACH = 4;  // a block is SIDE x SIDE threads, each with EACH x EACH results
constexpr int TILE = SIDE * EACH;
constexpr int DEPTH = 16;  // dimensions at a time

// z (m, n_bits), or codes (m, width); the other one is zero. matrix is (n_bits, dim).
extern "C" __global__ void __launch_bounds__(SIDE *SIDE)
    project(const Stored *rows, i64 m, i64 dim, const Real *matrix, const Real *thresholds, int n_bits, i64 width,
            Real *z, u8 *codes) {
    __shared__ Real a[DEPTH][TILE], b[DEPTH][TILE];
    const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    const i64 first_row = (i64)blockIdx.x * TILE, first_bit = (i64)blockIdx.y * TILE;
    Real sums[EACH][EACH] = {};
    for (i64 from = 0; from < dim; from += DEPTH) {
        __syncthreads();  // the last dimensions are used up
        for (int i = 0; i < EACH; i++) {
            const int line = y + SIDE * i;
            const bool inside = from + x < dim;
            const i64 row = first_row + line, bit = first_bit + line;
            a[x][line] = inside && row < m ? Number<ROW>::value(rows[row * dim + from + x]) : 0;
            b[x][line] = inside && bit < n_bits ? matrix[bit * dim + from + x] : 0;
        }
        __syncthreads();
#pragma unroll
        for (int t = 0; t < DEPTH; t++) {
            Real own[EACH], other[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                own[i] = a[t][EACH * y + i];
                other[i] = b[t][x + SIDE * i];
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++) sums[i][j] += own[i] * other[j];
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const i64 row = first_row + EACH * y + i, bit = first_bit + SIDE * j + x;
            const bool inside = row < m && bit < n_bits;
            const Real value = inside ? sums[i][j] - thresholds[bit] : -1;
            if (inside && z) z[row * n_bits + bit] = value;
            // the two halves of a warp have neighbouring bits of two rows
            const u32 signs = __ballot_sync(ALL_LANES, value >= 0) >> (lane_id() / SIDE * SIDE);
            const i64 byte = (first_bit + SIDE * j) / 8 + x;
            if (codes && x < SIDE / 8 && row < m && byte < width) codes[row * width + byte] = (u8)(signs >> 8 * x);
        }
}
