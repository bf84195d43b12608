// Threads that work on one list together: a warp, or a block. Every thread of a group calls every function.

struct Warp {
    static constexpr int SIZE = WARP;
    static __device__ int rank() { return lane_id(); }
    static __device__ void sync() { __syncwarp(); }

    static __device__ int sum(int value) {
        for (int distance = WARP / 2; distance; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
        return value;
    }

    // The sum over the threads before this one; `total` is that over all.
    static __device__ int before(int value, int &total) {
        int upto = value;
        for (int distance = 1; distance < WARP; distance *= 2) {
            const int other = __shfl_up_sync(ALL_LANES, upto, distance);
            if (lane_id() >= distance) upto += other;
        }
        total = __shfl_sync(ALL_LANES, upto, WARP - 1);
        return upto - value;
    }

    static __device__ int flagged_before(bool flag, int &total) {
        const u32 flags = __ballot_sync(ALL_LANES, flag);
        total = __popc(flags);
        return __popc(flags & lanes_below());
    }
};

template <int THREADS>
struct Block {
    static constexpr int SIZE = THREADS;
    static __device__ int rank() { return threadIdx.x; }
    static __device__ void sync() { __syncthreads(); }

    static __device__ int before(int value, int &total) {
        __shared__ int totals[THREADS / WARP];
        int of_warp;
        int result = Warp::before(value, of_warp);
        if (lane_id() == 0) totals[threadIdx.x / WARP] = of_warp;
        __syncthreads();
        total = 0;
        for (int warp = 0; warp < THREADS / WARP; warp++) {
            if (warp < threadIdx.x / WARP) result += totals[warp];
            total += totals[warp];
        }
        __syncthreads();  // the next call writes to `totals`
        return result;
    }

    static __device__ int sum(int value) {
        int total;
        before(value, total);
        return total;
    }

    static __device__ int flagged_before(bool flag, int &total) { return before(flag, total); }
};
