// Lists of rows found: entries are (distance, row), and stand in the order in which the rows were found.

constexpr int ROW_BITS = 40;
constexpr int LATER_TIES_LOSE = 1 - CLUSTERED;  // where rows are found in the order of their numbers

__device__ inline u64 entry_of(int distance, i64 row) { return (u64)distance << ROW_BITS | (u64)row; }
__device__ inline int distance_of(u64 entry) { return (int)(entry >> ROW_BITS); }
__device__ inline i64 row_of(u64 entry) { return (i64)(entry & ((1ull << ROW_BITS) - 1)); }

// Cut a list to its k nearest entries by (distance, row), k >= 1, and return its new length. Where k remain, `last`
// is the distance of the farthest of them. The list stays in its order: counting finds the distance, and one stable
// pass moves what is kept to the front.
#if CLUSTERED
template <class Group>
__device__ int keep_nearest(u64 *list, int length, int k, int largest, int &last) {
    if (length < k) return length;
    u64 low = 0, high = entry_of(largest + 1, 0);  // the k-th entry; no two are equal
    while (low < high) {
        const u64 middle = low + (high - low) / 2;
        int within = 0;
        for (int i = Group::rank(); i < length; i += Group::SIZE) within += list[i] <= middle;
        if (Group::sum(within) >= k) high = middle;
        else low = middle + 1;
    }
    last = distance_of(low);
    int kept = 0;
    for (int start = 0; start < length; start += Group::SIZE) {
        const int i = start + Group::rank();
        const u64 entry = i < length ? list[i] : ~0ull;
        int now;
        const int place = kept + Group::flagged_before(entry <= low, now);  // every thread has read its entry by now
        if (entry <= low) list[place] = entry;
        kept += now;
    }
    Group::sync();
    return kept;
}
#else
template <class Group>
__device__ int keep_nearest(u64 *list, int length, int k, int largest, int &last) {
    if (length < k) return length;
    int low = 0, high = largest;  // the smallest distance within which k entries lie
    while (low < high) {
        const int middle = low + (high - low) / 2;
        int within = 0;
        for (int i = Group::rank(); i < length; i += Group::SIZE) within += distance_of(list[i]) <= middle;
        if (Group::sum(within) >= k) high = middle;
        else low = middle + 1;
    }
    last = low;
    int nearer = 0;
    for (int i = Group::rank(); i < length; i += Group::SIZE) nearer += distance_of(list[i]) < last;
    const int ties = k - Group::sum(nearer);
    int kept = 0, tied = 0;
    for (int start = 0; start < length; start += Group::SIZE) {
        const int i = start + Group::rank();
        const u64 entry = i < length ? list[i] : ~0ull;
        const bool tie = i < length && distance_of(entry) == last;
        int now;
        const int place_among_ties = tied + Group::flagged_before(tie, now);
        tied += now;
        const bool keep = tie ? place_among_ties < ties : i < length && distance_of(entry) < last;
        const int place = kept + Group::flagged_before(keep, now);  // every thread has read its entry by now
        if (keep) list[place] = entry;
        kept += now;
    }
    Group::sync();
    return kept;
}
#endif
