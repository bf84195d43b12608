// Who may be returned.

struct Exclusions {
    const i64 *query_ids;        // (nq,)
    const i64 *query_labels;     // (nq,)
    const i64 *database_labels;  // (n,)
    const i64 *exclude;          // (nq, exclude_width), each row sorted
    i64 exclude_width;
    const u8 *allow;  // rows of allow_stride bytes
    i64 allow_stride;
    int allow_is_packed;

    __device__ bool any() const {
        return (u64)query_ids | (u64)query_labels | (u64)allow | (u64)exclude;
    }

    // Whether query q may not return a row. What a pointer of zero would tell is not excluded by.
    __device__ bool exclude_pair(i64 q, i64 row) const {
        if (query_ids && query_ids[q] == row) return true;
        if (query_labels && query_labels[q] == database_labels[row]) return true;
        if (allow) {
            const u8 *mask = allow + q * allow_stride;
            const int bit = allow_is_packed ? mask[row >> 3] >> (row & 7) & 1 : mask[row];
            if (!bit) return true;
        }
        if (exclude) {
            const i64 *list = exclude + q * exclude_width;
            i64 low = 0, high = exclude_width;
            while (low < high) {
                const i64 middle = (low + high) / 2;
                if (list[middle] < row) low = middle + 1;
                else high = middle;
            }
            if (low < exclude_width && list[low] == row) return true;
        }
        return false;
    }
};

// Kernels take these as their last parameters, and make an Exclusions of them.
#define EXCLUSION_PARAMETERS                                                                            \
    const i64 *query_ids, const i64 *query_labels, const i64 *database_labels, const i64 *exclude,      \
        i64 exclude_width, const u8 *allow, i64 allow_stride, int allow_is_packed
#define EXCLUSIONS                                                                                      \
    Exclusions {                                                                                        \
        query_ids, query_labels, database_labels, exclude, exclude_width, allow, allow_stride,          \
            allow_is_packed                                                                             \
    }
