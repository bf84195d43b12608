// Search on the binary tensor core. BLOCKS: codes are this many times 256 bits; QUERY_TILES: of 16 queries, a warp.
//
// A warp holds its queries in registers and walks the rows of a slice, 32 at a time. The accumulators start at
// -ones(x) / 2, so one comparison of the largest sum tells whether any of 16 x 32 pairs may be near enough. Such a
// tile is counted once more, into shared memory, and looked at row by row.

#include "common.cuh"
#include "exclusions.cuh"
#include "groups.cuh"
#include "lists.cuh"
#include "mma.cuh"
#include "scan.cuh"

constexpr int WARPS = 4;  // of a block; they work alone
constexpr int QUERIES = 16 * QUERY_TILES;
constexpr int ROWS = 32;
constexpr int COLUMN_TILES = ROWS / 8;
constexpr int STRIDE = ROWS + 8;  // of a staged line: lanes that write together meet different banks
constexpr int NEVER = 0x7fffffff;
constexpr bool RESIDENT = BLOCKS <= 2;  // queries stay in registers

struct Found {
    int count, limit;
};

// What a lane reads of codes of BLOCKS * 4 pairs of words: its pair of every block.
struct Codes {
    const uint2 *at;  // its pair of the first block of row lane / 4
    __device__ Codes(const uint2 *words, i64 first_row) {
        at = words + (first_row + lane_id() / 4) * BLOCKS * 4 + lane_id() % 4;
    }
    __device__ uint2 pair(int row, int block) const { return at[(row * BLOCKS + block) * 4]; }
    __device__ uint4 queries(int tile, int block) const {  // rows 16 tile and 16 tile + 8 from here
        const uint2 upper = pair(16 * tile, block), lower = pair(16 * tile + 8, block);
        return uint4{upper.x, lower.x, upper.y, lower.y};
    }
};

__device__ inline int largest(const int4 *sums, bool lower) {
    int result = lower ? sums[0].z : sums[0].x;
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
        result = max(result, lower ? sums[j].z : sums[j].x);
        result = max(result, lower ? sums[j].w : sums[j].y);
    }
    return result;
}

extern "C" __global__ void __launch_bounds__(WARPS *WARP, 4)
    scan_mma(const uint2 *row_words, const int4 *starts, const uint2 *query_words, SCAN_PARAMETERS) {
    __shared__ Found found[WARPS][QUERIES];
    __shared__ int thresholds[WARPS][QUERIES];
    __shared__ int stage[WARPS][16 * STRIDE];
    const Scan scan = SCAN;
    const int warp = threadIdx.x / WARP, lane = lane_id(), group = lane / 4, member = lane % 4;
    const int query_parts = (nq + QUERIES - 1) / QUERIES;
    const i64 unit = (i64)blockIdx.x * WARPS + warp;
    const int slice = (int)(unit / query_parts);
    const int first_query = (int)(unit % query_parts) * QUERIES;
    if (slice >= slices) return;

    bool idle = true;
    for (int i = lane; i < QUERIES; i += WARP) {
        const int q = first_query + i, limit = q < nq ? limits[q] : -1;
        found[warp][i] = Found{0, limit};
        thresholds[warp][i] = limit < 0 ? NEVER : scan.metric.threshold(query_ones[q], limit);
        idle = idle && limit < 0;
    }
    __syncwarp();
    const bool busy = __any_sync(ALL_LANES, !idle);

    const Codes queries(query_words, first_query);  // there are rows for whole tiles of queries
    uint4 own[RESIDENT ? QUERY_TILES : 1][RESIDENT ? BLOCKS : 1];
    if (RESIDENT) {
#pragma unroll
        for (int m = 0; m < (RESIDENT ? QUERY_TILES : 1); m++)
#pragma unroll
            for (int block = 0; block < (RESIDENT ? BLOCKS : 1); block++) own[m][block] = queries.queries(m, block);
    }
    int upper[QUERY_TILES], lower[QUERY_TILES];  // thresholds of this lane's two queries of each tile
#pragma unroll
    for (int m = 0; m < QUERY_TILES; m++) {
        upper[m] = thresholds[warp][16 * m + group];
        lower[m] = thresholds[warp][16 * m + group + 8];
    }

    u32 visiting = ALL_LANES;  // bit m: some of the queries of tile m visit these rows
#if CLUSTERED
    i64 known = -1;  // the block of rows that it is about
#endif
    const i64 end = busy ? smaller(last, scan.tile(slice, tiles)) : 0;
    for (i64 tile = scan.tile(slice, 0); tile < end; tile += step) {
#if CLUSTERED
        if (tile * ROWS >> block_shift != known) {
            known = tile * ROWS >> block_shift;
            visiting = 0;
            for (int first = 0; first < QUERIES; first += WARP) {
                const int i = first + lane, q = first_query + i;
                const bool visits = i < QUERIES && q < nq && scan.visits.any(q, tile * ROWS, ROWS, found[warp][i].limit);
                const u32 lanes = __ballot_sync(ALL_LANES, visits);
                visiting |= ((lanes & 0xffff) != 0) << first / 16 | ((lanes >> 16) != 0) << (first / 16 + 1);
            }
        }
        if (!visiting) continue;
#endif
        const Codes rows(row_words, tile * ROWS);
        int4 start[COLUMN_TILES];
#pragma unroll
        for (int j = 0; j < COLUMN_TILES; j++) start[j] = starts[tile * (ROWS / 2) + 4 * j + member];
        u32 hot = 0;
        int4 sums[QUERY_TILES][COLUMN_TILES];
#pragma unroll
        for (int m = 0; m < QUERY_TILES; m++)
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j++) sums[m][j] = start[j];
#pragma unroll(RESIDENT ? BLOCKS : 1)
        for (int block = 0; block < BLOCKS; block++) {
            uint2 pairs[COLUMN_TILES];
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j++) pairs[j] = rows.pair(8 * j, block);
#pragma unroll
            for (int m = 0; m < QUERY_TILES; m++) {
                if (CLUSTERED && !(visiting >> m & 1)) continue;
                const uint4 query = RESIDENT ? own[m][block] : queries.queries(m, block);
#pragma unroll
                for (int j = 0; j < COLUMN_TILES; j++) sums[m][j] = and_popcount(query, pairs[j], sums[m][j]);
            }
        }
#pragma unroll
        for (int m = 0; m < QUERY_TILES; m++)
            if (largest(sums[m], false) >= upper[m] || largest(sums[m], true) >= lower[m]) hot |= 1u << m;
        hot &= visiting;
        if (!__any_sync(ALL_LANES, hot)) continue;

        for (int m = 0; m < QUERY_TILES; m++) {
            if (!__any_sync(ALL_LANES, hot >> m & 1)) continue;
            int4 again[COLUMN_TILES];
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j++) again[j] = start[j];
#pragma unroll 1
            for (int block = 0; block < BLOCKS; block++) {
                const uint4 query = queries.queries(m, block);
#pragma unroll
                for (int j = 0; j < COLUMN_TILES; j++)
                    again[j] = and_popcount(query, rows.pair(8 * j, block), again[j]);
            }
            int *line = stage[warp] + group * STRIDE + 2 * member;
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j++) {
                *(int2 *)(line + 8 * j) = int2{again[j].x, again[j].y};
                *(int2 *)(line + 8 * STRIDE + 8 * j) = int2{again[j].z, again[j].w};
            }
            const u32 near_upper = __ballot_sync(ALL_LANES, largest(again, false) >= thresholds[warp][16 * m + group]);
            const u32 near_lower = __ballot_sync(ALL_LANES, largest(again, true) >= thresholds[warp][16 * m + group + 8]);
            __syncwarp();  // the lines are written
            for (u64 left = (u64)near_lower << 32 | near_upper; left;) {  // four lanes speak for a query
                const int line_number = (__ffsll(left) - 1) / 4, own_query = 16 * m + line_number;
                left &= ~(15ull << 4 * line_number);
                const int v = stage[warp][line_number * STRIDE + lane];
                Found state = found[warp][own_query];
                const int q = first_query + own_query, old_limit = state.limit;
                scan.offer(q, slice, tile * ROWS + lane, v, v >= thresholds[warp][own_query], state.count, state.limit);
                __syncwarp();  // every lane has read the state
                if (lane == 0) {
                    found[warp][own_query] = state;
                    if (state.limit < old_limit)
                        thresholds[warp][own_query] =
                            state.limit < 0 ? NEVER : scan.metric.threshold(query_ones[q], state.limit);
                }
            }
            __syncwarp();
        }
#pragma unroll
        for (int m = 0; m < QUERY_TILES; m++) {
            upper[m] = thresholds[warp][16 * m + group];
            lower[m] = thresholds[warp][16 * m + group + 8];
        }
    }
    for (int i = lane; i < QUERIES && first_query + i < nq; i += WARP)
        counts[(i64)(first_query + i) * slices + slice] = found[warp][i].count;
}
