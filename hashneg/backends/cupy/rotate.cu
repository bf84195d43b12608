// The fast rotation, and column sums. TYPE: 0 float, 1 double; STAGED: 1 where a row fits the shared memory.

#include "common.cuh"
#include "numbers.cuh"

using Real = Number<TYPE>::Stored;

// Three rounds of signs and Walsh-Hadamard transform: z (m, blocks * width) of rows (m, dim), padded with zeros, for
// signs (blocks, rounds, width) that hold the scale, too. A block of threads takes a row and a block of signs.
extern "C" __global__ void rotate(const Real *rows, i64 dim, const Real *signs, int blocks, int rounds, i64 width,
                                  Real *z) {
    const i64 row = blockIdx.x / blocks, block = blockIdx.x % blocks;
    Real *const out = z + (row * blocks + block) * width;
#if STAGED
    DYNAMIC_SHARED(Real, work);
#else
    Real *const work = out;
#endif
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) work[i] = i < dim ? rows[row * dim + i] : 0;
    for (int round = 0; round < rounds; round++) {
        __syncthreads();
        for (i64 i = threadIdx.x; i < width; i += blockDim.x) work[i] *= signs[(block * rounds + round) * width + i];
        for (i64 half = 1; half < width; half *= 2) {
            __syncthreads();
            for (i64 pair = threadIdx.x; pair < width / 2; pair += blockDim.x) {
                const i64 low = pair / half * 2 * half + pair % half;
                const Real a = work[low], b = work[low + half];
                work[low] = a + b;
                work[low + half] = a - b;
            }
        }
    }
#if STAGED
    __syncthreads();
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) out[i] = work[i];
#endif
}

// total[column] += rows[row, column], row after row.
extern "C" __global__ void add_columns(const Real *rows, i64 m, i64 dim, double *total) {
    const i64 column = thread_number();
    if (column >= dim) return;
    double sum = total[column];
    for (i64 row = 0; row < m; row++) sum += rows[row * dim + column];
    total[column] = sum;
}
