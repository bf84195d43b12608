// The binary tensor core of sm_80 to sm_90. Row g of `a`, column c of `b`: sums[g, c] = start + popcount(a AND b).
//
// With g = lane / 4 and t = lane % 4, a lane holds of the 16 x 256 bits of `a` words t and t + 4 of the rows g (x, z)
// and g + 8 (y, w), of the 256 x 8 bits of `b` words t and t + 4 of column g, and of the 16 x 8 sums the columns
// 2 t and 2 t + 1 of the rows g (x, y) and g + 8 (z, w). Words may be renumbered, if those of a and b are alike.

#ifdef __CUDACC__
__device__ inline int4 and_popcount(uint4 a, uint2 b, int4 start) {
    int4 sums;
    asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=r"(sums.x), "=r"(sums.y), "=r"(sums.z), "=r"(sums.w)
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(start.x), "r"(start.y), "r"(start.z),
          "r"(start.w));
    return sums;
}
#endif  // whoever compiles this for something else supplies its own
