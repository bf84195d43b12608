// Numbers of embeddings by type: 0 float, 1 double, 2 half, 3 bfloat16. Halves are read as what they are exactly.

struct Sixteen {
    unsigned short bits;
};

template <int CODE>
struct Number;
template <>
struct Number<0> {
    using Stored = float;
    static __device__ float value(Stored x) { return x; }
};
template <>
struct Number<1> {
    using Stored = double;
    static __device__ double value(Stored x) { return x; }
};
template <>
struct Number<2> {
    using Stored = Sixteen;
    static __device__ float value(Stored x) {  // moved to the places of a float, whose exponent is biased by 112 more
        const float size = __uint_as_float((u32)(x.bits & 0x7fff) << 13) * __uint_as_float((254u - 15u) << 23);
        return x.bits & 0x8000 ? -size : size;
    }
};
template <>
struct Number<3> {
    using Stored = Sixteen;
    static __device__ float value(Stored x) { return __uint_as_float((u32)x.bits << 16); }
};
