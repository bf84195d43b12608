// Codes as the scans take them: rows of words, what their counters start at, bit planes, and plans of queries.

#include "common.cuh"

constexpr int DEAD = -(1 << 29);  // a start from which no sum reaches a threshold

// words (n, words): the bytes of a code, low one first, with zeros beyond the end; ones (n,): how many bits are set.
extern "C" __global__ void pack_rows(const u8 *codes, i64 n, i64 width, int words_per_row, u32 *words, int *ones) {
    const i64 row = thread_number();
    if (row >= n) return;
    int count = 0;
    for (int w = 0; w < words_per_row; w++) {
        u32 word = 0;
        for (i64 byte = 4ll * w; byte < smaller(4ll * w + 4, width); byte++)
            word |= (u32)codes[row * width + byte] << 8 * (byte - 4ll * w);
        words[row * words_per_row + w] = word;
        count += __popc(word);
    }
    ones[row] = count;
}

// starts (padded / 2, 4): what the tensor core adds to, of rows 2 i and 2 i + 1, twice, as its registers hold it; rows
// that are not alive, and the padding, can never be found.
extern "C" __global__ void start_rows(const int *ones, const u8 *alive, i64 n, i64 padded, int projected, int *starts) {
    const i64 row = thread_number();
    if (row >= padded) return;
    const bool dead = row >= n || (alive && !alive[row]);
    int *const place = starts + row / 2 * 4 + row % 2;
    place[0] = place[2] = dead ? DEAD : projected ? 0 : -(ones[row] >> 1);
}

// planes (tiles, n_bits + 2 + counter_planes, 32 * lane_words): bit j of the rows of a tile in plane j; then zeros;
// the rows that are alive; and the bits of n_bits / 2 - ones / 2. A warp makes one word, of 32 rows, of every plane.
extern "C" __global__ void slice_rows(const u32 *words, const int *ones, const u8 *alive, i64 n, int words_per_row,
                                      int n_bits, int counter_planes, int lane_words, i64 groups, u32 *planes) {
    const i64 group = thread_number() / WARP;
    if (group >= groups) return;
    const i64 row = group * WARP + lane_id();
    const int tile_words = WARP * lane_words;
    u32 *const column = planes + group / tile_words * tile_words * (n_bits + 2 + counter_planes) + group % tile_words;
    const bool real = row < n;
    for (int first = 0; first < n_bits; first += WARP) {
        const u32 word = real ? words[row * words_per_row + first / WARP] : 0;
        u32 own = 0;
        for (int bit = 0; bit < WARP; bit++) {
            const u32 plane = __ballot_sync(ALL_LANES, word >> bit & 1);
            if (bit == lane_id()) own = plane;
        }
        if (first + lane_id() < n_bits) column[(i64)(first + lane_id()) * tile_words] = own;
    }
    const int start = real ? n_bits / 2 - (ones[row] >> 1) : 0;
    const u32 valid = __ballot_sync(ALL_LANES, real && !(alive && !alive[row]));
    u32 own = lane_id() == 1 ? valid : 0;
    for (int p = 0; p < counter_planes; p++) {
        const u32 plane = __ballot_sync(ALL_LANES, start >> p & 1);
        if (lane_id() == p + 2) own = plane;
    }
    if (lane_id() < counter_planes + 2) column[(i64)(n_bits + lane_id()) * tile_words] = own;
}

// plans (nq, plan_width): byte offsets in a tile of the planes of the query's ones, filled up to a multiple of eight
// with the plane of zeros. A warp makes one plan.
extern "C" __global__ void plan_queries(const u32 *words, i64 nq, int words_per_row, int n_bits, int plane_bytes,
                                        int plan_width, u32 *plans, int *lengths) {
    const i64 q = thread_number() / WARP;
    if (q >= nq) return;
    u32 *plan = plans + q * plan_width;
    int length = 0;
    for (int first = 0; first < n_bits; first += WARP) {
        const u32 word = words[q * words_per_row + first / WARP];
        const int plane = first + lane_id();
        if (word >> lane_id() & 1) plan[length + __popc(word & lanes_below())] = (u32)plane * plane_bytes;
        length += __popc(word);
    }
    const int padded = (length + 7) / 8 * 8;
    if (length + lane_id() < padded) plan[length + lane_id()] = (u32)n_bits * plane_bytes;
    if (lane_id() == 0) lengths[q] = padded;
}
