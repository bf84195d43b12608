// Which blocks of a clustered database a query visits. They are taken in the order of their keys: the distance of the
// query from the center, and then the number of the block. `far` (nq, blocks) holds the distances.

#include "common.cuh"
#include "exclusions.cuh"

constexpr int NOT_VISITED = 0x7fffffff;

__device__ inline i64 key_of(const int *far, i64 q, i64 blocks, i64 block) {
    return far[q * blocks + block] * blocks + block;
}

// until[q]: the smallest key up to which the blocks beyond `from` weigh what query q lacks, wanted - held[q]; the
// largest key if all of them weigh less, and from[q] if it lacks nothing. Without `weights` a block weighs 1; without
// `from` all are counted. A warp takes a query.
extern "C" __global__ void find_keys(const int *far, i64 nq, i64 blocks, int n_bits, const int *weights, i64 wanted,
                                     const int *held, const i64 *from, i64 *until) {
    const i64 q = thread_number() / WARP;
    if (q >= nq) return;
    const i64 begin = from ? from[q] : -1, lacking = wanted - (held ? held[q] : 0);
    i64 low = lacking > 0 ? begin + 1 : begin, high = lacking > 0 ? (n_bits + 1) * blocks - 1 : begin;
    while (low < high) {
        const i64 middle = (low + high) / 2;
        i64 weight = 0;
        for (i64 block = lane_id(); block < blocks; block += WARP) {
            const i64 key = key_of(far, q, blocks, block);
            if (key > begin && key <= middle) weight += weights ? weights[q * blocks + block] : 1;
        }
        for (int distance = WARP / 2; distance; distance /= 2) weight += __shfl_xor_sync(ALL_LANES, weight, distance);
        if (weight >= lacking) high = middle;
        else low = middle + 1;
    }
    if (lane_id() == 0) until[q] = low;
}

// bounds (nq, blocks): what no row of a block beyond `from` and up to `until` is nearer than; other blocks are not
// visited. Without `until` there is no end. A thread takes a query and a block.
extern "C" __global__ void bound_blocks(const int *far, const int *radii, i64 nq, i64 blocks, const i64 *from,
                                        const i64 *until, int *bounds) {
    const i64 i = thread_number();
    if (i >= nq * blocks) return;
    const i64 q = i / blocks, block = i % blocks, key = key_of(far, q, blocks, block);
    const bool visited = !(from && key <= from[q]) && !(until && key > until[q]);
    bounds[i] = visited ? far[i] - radii[block] : NOT_VISITED;
}

// allowed (nq, blocks): how many rows of a block beyond `from` query q may return; written only where q holds fewer
// than k. `order` has the row at every place, a block 2^shift places. `parts` warps take a query.
extern "C" __global__ void count_allowed(const int *far, const int *radii, i64 nq, i64 blocks, int parts, const int *held,
                                         int k, const i64 *from, const u8 *queries, const u8 *codes, i64 n, i64 width,
                                         const u8 *alive, const i64 *order, int shift, int n_bits, int projected,
                                         int max_distance, int *allowed, EXCLUSION_PARAMETERS) {
    const i64 q = thread_number() / WARP / parts, part = thread_number() / WARP % parts;
    if (q >= nq || held[q] >= k) return;
    const Exclusions exclusions = EXCLUSIONS;
    for (i64 block = part; block < blocks; block += parts) {
        const i64 pair = q * blocks + block;
        const bool looked_at = key_of(far, q, blocks, block) > from[q] && far[pair] - radii[block] <= max_distance;
        const i64 end = looked_at ? smaller(n, (block + 1) << shift) : 0;
        int count = 0;
        for (i64 first = block << shift; first < end; first += WARP) {
            const i64 place = first + lane_id();
            bool ok = place < end;
            if (ok) {
                const i64 row = order[place];
                ok = !(alive && !alive[row]) && !exclusions.exclude_pair(q, row);
                if (ok && max_distance < n_bits) {
                    int distance = 0;
                    for (i64 byte = 0; byte < width; byte++) {
                        const u32 a = queries[q * width + byte], b = codes[row * width + byte];
                        distance += __popc(projected ? a & ~b : a ^ b);
                    }
                    ok = distance <= max_distance;
                }
            }
            count += __popc(__ballot_sync(ALL_LANES, ok));
        }
        if (lane_id() == 0) allowed[pair] = count;
    }
}
