// From the lists of the slices to the answer of each query.

#include "common.cuh"
#include "groups.cuh"
#include "lists.cuh"

constexpr int THREADS = 128;
constexpr int MOST_SLICES = 1024;
using Threads = Block<THREADS>;

// Append the lists of a query's slices to its best rows so far, keep the k nearest, and set the limit of what is
// searched for next. A block takes a query; slices follow each other in the order of the rows.
//
// `purpose`: 0, later rows follow, which lose every tie: only nearer ones are of interest;
//            1, the rows were a sample: nothing is kept, and whatever is as near as the k-th of them is of interest;
//            2, all rows were searched with a limit guessed from a sample: if fewer than k rows lie within, the
//               guess was wrong, and the query starts again without one; if not, nothing more is of interest.
extern "C" __global__ void __launch_bounds__(THREADS)
    merge(const u64 *lists, i64 room, const int *counts, int slices, int n_bits, int k, int purpose, int max_distance,
          u64 *best, i64 best_room, int *held, int *limits) {
    __shared__ int offsets[MOST_SLICES + 1];
    const i64 q = blockIdx.x;
    int total = 0;
    for (int start = 0; start < slices; start += THREADS) {
        const int slice = start + threadIdx.x;
        int now;
        const int before = Threads::before(slice < slices ? counts[q * slices + slice] : 0, now);
        if (slice < slices) offsets[slice] = total + before;
        total += now;
    }
    if (threadIdx.x == 0) offsets[slices] = total;
    __syncthreads();

    u64 *list = best + q * best_room;
    const int asked = limits[q];  // below zero: nothing was searched for, and the lists are empty
    int length = held[q], limit = asked;
    for (int taken = 0; taken < total;) {
        const int now = (int)smaller(total - taken, best_room - length);
        for (int i = threadIdx.x; i < now; i += THREADS) {
            int low = 0, high = slices - 1;  // the last slice that begins at or before this place
            while (low < high) {
                const int middle = (low + high + 1) / 2;
                if (offsets[middle] <= taken + i) low = middle;
                else high = middle - 1;
            }
            list[length + i] = lists[(q * slices + low) * room + taken + i - offsets[low]];
        }
        __syncthreads();
        length += now;
        taken += now;
        int farthest = limit + LATER_TIES_LOSE;
        length = keep_nearest<Threads>(list, length, k, n_bits, farthest);
        limit = farthest - LATER_TIES_LOSE;
    }
    if (purpose == 1) {
        limit = length < k ? max_distance : limit + 1;
        length = 0;
    }
    if (purpose == 2) {
        const bool wrong = asked >= 0 && asked < max_distance && length < k;
        limit = wrong ? max_distance : -1;
        length = wrong ? 0 : length;
    }
    __syncthreads();  // every thread has read what is overwritten now
    if (threadIdx.x == 0) {
        held[q] = length;
        limits[q] = limit;
    }
}

// Write the entries of a list sorted by (distance, row), and padding up to `columns`. `bins` (nq, n_bits + 1) is
// scratch. A warp takes a query: it counts how many entries each distance has, and sends every entry to its place.
extern "C" __global__ void finish(const u64 *lists, const i64 *begins, i64 room, const int *lengths, i64 nq, int n_bits,
                                  int *bins, i64 columns, int *distances, i64 *rows) {
    const i64 q = thread_number() / WARP;
    if (q >= nq) return;
    const i64 begin = begins ? begins[q] : q * room;
    const i64 out = begins ? begin : q * columns;
    const u64 *list = lists + begin;
    const int length = lengths[q];
    int *bin = bins + q * (n_bits + 1);
    for (int distance = lane_id(); distance <= n_bits; distance += WARP) bin[distance] = 0;
    __syncwarp();
    for (int i = lane_id(); i < length; i += WARP) atomicAdd(bin + distance_of(list[i]), 1);
    __syncwarp();
    int nearer = 0;
    for (int first = 0; first <= n_bits; first += WARP) {
        const int distance = first + lane_id();
        const int here = distance <= n_bits ? bin[distance] : 0;
        int now;
        const int before = Warp::before(here, now);
        if (distance <= n_bits) bin[distance] = nearer + before;
        nearer += now;
    }
    __syncwarp();
    for (int first = 0; first < length; first += WARP) {
        const int i = first + lane_id();
        const u64 entry = i < length ? list[i] : ~0ull;
        const int distance = i < length ? distance_of(entry) : -1;
        const u32 tied = __match_any_sync(ALL_LANES, distance);  // lanes with this distance
        const int rank = __popc(tied & lanes_below());
        int place = 0;
        if (i < length) place = bin[distance] + rank;
        __syncwarp();  // every lane has read its bin
        if (i < length && rank == 0) bin[distance] += __popc(tied);
        __syncwarp();
        if (i < length) {
            distances[out + place] = distance;
            rows[out + place] = row_of(entry);
        }
    }
    for (i64 i = length + lane_id(); i < columns; i += WARP) {
        distances[out + i] = 0x7fffffff;
        rows[out + i] = -1;
    }
}
