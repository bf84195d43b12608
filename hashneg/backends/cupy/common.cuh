// Names that every kernel uses.

using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

#ifndef CLUSTERED
#define CLUSTERED 0  // 1: rows lie in blocks of similar codes, so that they are found in any order
#endif

#ifdef __CUDACC__
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif  // whoever compiles this for something else supplies its own

__device__ inline int lane_id() { return threadIdx.x % WARP; }

__device__ inline u32 lanes_below() { return (1u << lane_id()) - 1; }

// The number of this thread among all threads of a one-dimensional grid.
__device__ inline i64 thread_number() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline i64 smaller(i64 a, i64 b) { return a < b ? a : b; }
