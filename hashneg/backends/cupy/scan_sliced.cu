// Search by bit-sliced counting, on any architecture. PLANES: bits of a counter; WORDS: 32-bit words of a lane;
// STAGED: 1 where a tile of the database fits the shared memory.
//
// A tile holds bit j of 1024 * WORDS codes in plane j, and a lane counts for 32 * WORDS of them at once: a counter's
// bit p lies in word p, so that adding a plane to all counters is a full adder of two logic operations. Only the
// planes of the query's ones are added, in the order that its plan lists them.

#include "common.cuh"
#include "exclusions.cuh"
#include "groups.cuh"
#include "lists.cuh"
#include "scan.cuh"

constexpr int WARPS = 8;
constexpr int BLOCK_QUERIES = 256;
constexpr int TILE_ROWS = WARP * WARP * WORDS;

struct alignas(4 * WORDS) Word {
    u32 part[WORDS];
};

struct Found {
    int count, limit;
};

// Two of three, in one operation: the compiler makes two of the plain expression.
__device__ inline u32 majority(u32 a, u32 b, u32 c) {
#ifdef __CUDACC__
    u32 result;
    asm("lop3.b32 %0, %1, %2, %3, 0xE8;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
    return result;
#else
    return (a & b) | (a & c) | (b & c);
#endif
}

// sum + a + b in every place: the sum stays, the carry is returned.
__device__ inline Word full_add(Word &sum, Word a, Word b) {
    Word carry;
#pragma unroll
    for (int w = 0; w < WORDS; w++) {
        const u32 c = sum.part[w];
        sum.part[w] = c ^ a.part[w] ^ b.part[w];
        carry.part[w] = majority(c, a.part[w], b.part[w]);
    }
    return carry;
}

// Adds 2^LEVEL planes to the counters' lowest LEVEL bits and returns what is carried to bit LEVEL.
template <int LEVEL>
struct Adder {
    static __device__ Word add(Word *counter, const char *tile, const uint4 *plan) {
        const Word a = Adder<LEVEL - 1>::add(counter, tile, plan);
        const Word b = Adder<LEVEL - 1>::add(counter, tile, plan + (1 << LEVEL) / 8);
        return full_add(counter[LEVEL - 1], a, b);
    }
};

template <>
struct Adder<2> {
    static __device__ Word add(Word *counter, const char *tile, const uint4 *plan) {
        const uint4 at = *plan;
        const Word a = full_add(counter[0], *(const Word *)(tile + at.x), *(const Word *)(tile + at.y));
        const Word b = full_add(counter[0], *(const Word *)(tile + at.z), *(const Word *)(tile + at.w));
        return full_add(counter[1], a, b);
    }
};

template <int LEVEL>
__device__ inline void add_planes(Word *counter, const char *tile, const uint4 *plan) {
    Word carry = Adder<LEVEL>::add(counter, tile, plan);
#pragma unroll
    for (int p = LEVEL; p < PLANES; p++)
#pragma unroll
        for (int w = 0; w < WORDS; w++) {
            const u32 c = counter[p].part[w];
            counter[p].part[w] = c ^ carry.part[w];
            carry.part[w] &= c;
        }
}

extern "C" __global__ void __launch_bounds__(WARPS *WARP, 2)
    scan_sliced(const Word *planes, const u32 *plans, const int *plan_lengths, int plan_width, SCAN_PARAMETERS) {
#if STAGED
    DYNAMIC_SHARED(uint4, staged);
#endif
    __shared__ Found found[BLOCK_QUERIES];
    const Scan scan = SCAN;
    const int warp = threadIdx.x / WARP, lane = lane_id();
    const int query_parts = (nq + BLOCK_QUERIES - 1) / BLOCK_QUERIES;
    const int slice = blockIdx.x / query_parts;
    const int first_query = blockIdx.x % query_parts * BLOCK_QUERIES;
    const int block_queries = (int)smaller(BLOCK_QUERIES, nq - first_query);
    const int tile_planes = n_bits + 2 + PLANES;  // the bits; zeros; rows that are alive; what counters start at
    for (int i = threadIdx.x; i < block_queries; i += WARPS * WARP) found[i] = Found{0, limits[first_query + i]};

    for (i64 i = 0; i < tiles; i++) {
        const i64 tile = scan.tile(slice, i);
        if (tile >= last) break;
        const Word *source = planes + tile * tile_planes * WARP;
        __syncthreads();  // nobody counts in the last tile any more
#if STAGED
        for (int at = threadIdx.x; at < tile_planes * 8 * WORDS; at += WARPS * WARP) staged[at] = ((const uint4 *)source)[at];
        __syncthreads();
        const Word *bits = (const Word *)staged + lane;
#else
        const Word *bits = source + lane;
#endif
        for (int own = warp; own < block_queries; own += WARPS) {
            Found state = found[own];
            if (state.limit < 0) continue;
            const int q = first_query + own;
#if CLUSTERED
            if (!scan.visits.any(q, tile * TILE_ROWS, TILE_ROWS, state.limit)) continue;
#endif
            Word counter[PLANES];
#pragma unroll
            for (int p = 0; p < PLANES; p++) counter[p] = bits[(projected ? n_bits : n_bits + 2 + p) * WARP];
            const uint4 *plan = (const uint4 *)(plans + (i64)q * plan_width);
            int left = plan_lengths[q];
            for (; left >= 32; left -= 32, plan += 8) add_planes<5>(counter, (const char *)bits, plan);
            for (; left > 0; left -= 8, plan += 2) add_planes<3>(counter, (const char *)bits, plan);

            const int threshold = max(0, scan.metric.threshold(query_ones[q], state.limit));
            Word near;
            u32 any = 0;
#pragma unroll
            for (int w = 0; w < WORDS; w++) {
                u32 reached = ALL_LANES;  // the carry of v + (all ones - threshold) + 1, from bit to bit
#pragma unroll
                for (int p = 0; p < PLANES; p++) {
                    reached = majority(counter[p].part[w], (threshold >> p & 1) - 1u, reached);
                }
                near.part[w] = reached & bits[(n_bits + 1) * WARP].part[w];
                any |= near.part[w];
            }
            u32 lanes = __ballot_sync(ALL_LANES, any != 0);
            if (!lanes) continue;
            for (; lanes; lanes &= lanes - 1) {
                const int from = __ffs(lanes) - 1;
#pragma unroll
                for (int w = 0; w < WORDS; w++) {
                    const u32 marks = __shfl_sync(ALL_LANES, near.part[w], from);
                    if (!marks) continue;
                    int v = 0;
#pragma unroll
                    for (int p = 0; p < PLANES; p++)
                        v |= (__shfl_sync(ALL_LANES, counter[p].part[w], from) >> lane & 1) << p;
                    const i64 row = tile * TILE_ROWS + (from * WORDS + w) * WARP + lane;
                    scan.offer(q, slice, row, v, marks >> lane & 1, state.count, state.limit);
                }
            }
            __syncwarp();  // every lane has read the state
            if (lane == 0) found[own] = state;
            __syncwarp();
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < block_queries; i += WARPS * WARP)
        counts[(i64)(first_query + i) * slices + slice] = found[i].count;
}
