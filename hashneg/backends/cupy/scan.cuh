// What the two scans share: thresholds, distances, and the lists of rows found.
//
// A scan counts, for every query and row, a number v that decides the distance:
//     hamming     distance = ones(q) + 2 base + parity(x) - 2 v,   v = base - ones(x) / 2 + popcount(q AND x)
//     projected   distance = ones(q) - v,                          v = popcount(q AND x)
// so that "v >= threshold" holds for all rows within a limit. It also holds for some rows one farther, since the
// parity is left out; the exact test follows on the few rows that pass.

struct Metric {
    int projected;
    int base;

    __device__ int threshold(int query_ones, int limit) const {
        return projected ? query_ones - limit : (query_ones + 2 * base - limit + 1) >> 1;
    }
    __device__ int distance(int query_ones, int row_ones, int v) const {
        return projected ? query_ones - v : query_ones + 2 * base + (row_ones & 1) - 2 * v;
    }
};

// What a clustered database adds: which row lies at a place, and which blocks a query visits.
#if CLUSTERED
struct Visits {
    const i64 *order;   // (n,): the number of the row at a place
    const int *bounds;  // (nq, blocks): rows of a block are not nearer; more than any distance: it is not visited
    i64 blocks;
    int shift;  // a block has 2^shift places

    __device__ i64 number(i64 place) const { return order[place]; }
    __device__ bool includes(i64 q, i64 place, int distance) const {
        return bounds[q * blocks + (place >> shift)] <= distance;
    }
    // Whether query q, which looks within `limit`, visits any of some places.
    __device__ bool any(i64 q, i64 first, int places, int limit) const {
        const i64 end = smaller(blocks, ((first + places - 1) >> shift) + 1);
        for (i64 block = first >> shift; block < end; block++)
            if (bounds[q * blocks + block] <= limit) return true;
        return false;
    }
};
#define VISIT_PARAMETERS , const i64 *order, const int *bounds, i64 blocks, int block_shift
#define VISITS \
    Visits { order, bounds, blocks, block_shift }
#else
struct Visits {
    __device__ i64 number(i64 place) const { return place; }
    __device__ bool includes(i64, i64, int) const { return true; }
};
#define VISIT_PARAMETERS
#define VISITS \
    Visits {}
#endif

// Rows are counted in tiles. Slice s of the database is the tiles first + (s tiles + i) step, i = 0 .. tiles - 1,
// those before `last`. Each (query, slice) has a list, and no two warps share one.
struct Scan {
    Metric metric;
    int nq;
    const int *query_ones;  // (nq,)
    const int *row_ones;    // (n,)
    i64 row_offset;         // the number that row 0 has among all rows; exclusions speak of the rows from here
    i64 first, last, step, tiles;
    int slices;
    int n_bits, k;
    const int *limits;  // (nq,): rows farther are not searched for; below zero: nothing is
    u64 *lists;         // zero: rows are only counted
    const i64 *begins;  // (nq, slices): where a list begins; zero: lists of `room` entries follow each other
    i64 room;           // at least k + 32, or the rows of a slice
    int *counts;        // (nq, slices)
    Exclusions exclusions;
    Visits visits;

    __device__ i64 tile(int slice, i64 i) const { return first + (slice * tiles + i) * step; }

    // Take the rows at 32 neighbouring places, one a lane, into the list of (q, slice). `near`: v has reached the
    // threshold.
    __device__ void offer(int q, int slice, i64 place, int v, bool near, int &count, int &limit) const {
        int far = 0;
        i64 row = 0;
        if (near) {
            far = metric.distance(query_ones[q], row_ones[place], v);
            near = far <= limit && visits.includes(q, place, far);
        }
        if (near) {
            row = visits.number(place);
            near = !(exclusions.any() && exclusions.exclude_pair(q, row));
        }
        const u32 kept = __ballot_sync(ALL_LANES, near);
        if (!kept) return;
        const i64 at = (i64)q * slices + slice;
        u64 *list = lists ? lists + (begins ? begins[at] : at * room) : lists;
        if (list && near) list[count + __popc(kept & lanes_below())] = entry_of(far, row_offset + row);
        count += __popc(kept);
        if (count + WARP > room) {
            __syncwarp();
            int last_distance = limit + LATER_TIES_LOSE;
            count = keep_nearest<Warp>(list, count, k, n_bits, last_distance);
            limit = last_distance - LATER_TIES_LOSE;
        }
    }
};

#define SCAN_PARAMETERS                                                                                       \
    int projected, int base, int nq, const int *query_ones, const int *row_ones, i64 row_offset, i64 first,   \
        i64 last, i64 step, i64 tiles, int slices, int n_bits, int k, const int *limits, u64 *lists,          \
        const i64 *begins, i64 room, int *counts, EXCLUSION_PARAMETERS VISIT_PARAMETERS
#define SCAN                                                                                                  \
    Scan {                                                                                                    \
        Metric{projected, base}, nq, query_ones, row_ones, row_offset, first, last, step, tiles, slices,      \
            n_bits, k, limits, lists, begins, room, counts, EXCLUSIONS, VISITS                                \
    }
