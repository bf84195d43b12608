// CUDA on the CPU, as far as hashneg's kernels use it: included before a .cu file, which is compiled as C++ unchanged.
//
// Every thread of a block is a fiber that runs until it has to wait for others, at a barrier or in a warp's exchange.
// Blocks run one after the other. Fibers take turns by number; or, from a seed, in an order drawn anew for every turn
// that leaves out half of the warps: what a kernel computes must not depend on it, and does where a barrier is missing. Shared memory is filled
// with a pattern before a block starts. A thread that leaves while others wait for it, threads that wait for different
// things, and partial warps are errors.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

namespace emulation {

constexpr int WARP = 32, MOST_THREADS = 1024, PAYLOAD = 6;
constexpr size_t STACK_BYTES = 128 << 10, MOST_SHARED = 1 << 18;

// ---- fibers

#if defined(__x86_64__)
struct Context {
    void *stack_pointer;
};
extern "C" __attribute__((visibility("hidden"))) void emulation_switch(void **save, void *load);
asm(R"(
.text
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
inline void prepare(Context &context, char *stack, void (*entry)()) {
    void **top = (void **)(((uintptr_t)stack + STACK_BYTES) & ~(uintptr_t)15);
    *--top = nullptr;  // the entry never returns
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    context.stack_pointer = top;
}
inline void change(Context &from, Context &to) { emulation_switch(&from.stack_pointer, to.stack_pointer); }
#else
#include <ucontext.h>
using Context = ucontext_t;
inline void prepare(Context &context, char *stack, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
inline void change(Context &from, Context &to) { swapcontext(&from, &to); }
#endif

enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Thread {
    Context context;
    dim3 index;
    int number;
    State state;
    const char *at;       // what it waits for
    int generation;       // of the exchange that it waits for
    void *fake_stack;
};

struct WarpState {
    uint64_t box[2][WARP][PAYLOAD];
    const char *what;
    int generation, arrived;
};

struct Machine {
    char *stacks;
    int stack_count;
    std::vector<Thread> threads;
    std::vector<WarpState> warps;
    std::vector<uint64_t> dynamic_shared;
    std::function<void()> body;
    Context scheduler;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
    dim3 block, block_shape, grid_shape;
    std::string error;
    Thread *current;
};

inline Machine &machine() {
    static Machine *one = new Machine();
    return *one;
}

inline void fail(const std::string &what) {
    Machine &m = machine();
    if (m.error.empty()) {
        char place[160];
        std::snprintf(place, sizeof place, " (block %u %u %u, thread %d)", m.block.x, m.block.y, m.block.z,
                      m.current ? m.current->number : -1);
        m.error = what + place;
    }
}

inline void leave(bool for_ever) {  // from a fiber to the scheduler
    Machine &m = machine();
    Thread *self = m.current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &self->fake_stack, m.scheduler_stack, m.scheduler_stack_bytes);
#endif
    change(self->context, m.scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

inline void enter(Thread &thread) {  // from the scheduler to a fiber
    Machine &m = machine();
    m.current = &thread;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, &m.stacks[thread.number * STACK_BYTES], STACK_BYTES);
#endif
    change(m.scheduler, thread.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    m.current = nullptr;
}

inline void fiber_main() {
    Machine &m = machine();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &m.scheduler_stack, &m.scheduler_stack_bytes);
#endif
    m.body();
    m.current->state = DONE;
    leave(true);
}

// ---- waiting for others

inline void barrier() {
    machine().current->state = AT_BARRIER;
    leave(false);
}

// Give `mine` to the warp and get what its lanes gave: all 32 of them have to come, for the same thing.
__attribute__((noinline)) inline uint64_t (*exchange(const char *what, unsigned mask, const uint64_t *mine, int count))[PAYLOAD] {
    Machine &m = machine();
    Thread *self = m.current;
    WarpState &warp = m.warps[self->number / WARP];
    const int generation = warp.generation;
    if (mask != 0xffffffffu) fail(std::string(what) + " of a part of a warp");
    if (warp.arrived == 0) warp.what = what;
    else if (std::strcmp(warp.what, what)) fail(std::string("a lane came to ") + what + ", another to " + warp.what);
    for (int i = 0; i < count; i++) warp.box[generation & 1][self->number % WARP][i] = mine[i];
    if (++warp.arrived == WARP) {
        warp.arrived = 0;
        warp.generation++;
    }
    else {
        self->state = IN_WARP;
        self->at = what;
        self->generation = generation;
        leave(false);
    }
    return warp.box[generation & 1];
}

// ---- shared memory: every __shared__ array has a section of its own, which starts and ends at names the linker makes

#define EMULATION_SECTION(n)                                                   \
    extern "C" char __start_emulation_shared_##n[] __attribute__((weak));      \
    extern "C" char __stop_emulation_shared_##n[] __attribute__((weak));
#define EMULATION_SECTIONS(use) use(0) use(1) use(2) use(3) use(4) use(5) use(6) use(7) use(8) use(9)
EMULATION_SECTIONS(EMULATION_SECTION)
#define EMULATION_NAME(n) EMULATION_NAME_OF(n)
#define EMULATION_NAME_OF(n) "emulation_shared_" #n
#define __shared__ static __attribute__((section(EMULATION_NAME(__COUNTER__))))

__attribute__((no_sanitize("address"))) inline void fill(char *from, char *to) {
    for (volatile char *at = from; at < to; at++) *at = (char)0xA5;
}

inline void fill_shared() {
    Machine &m = machine();
#define EMULATION_FILL(n) \
    if (__start_emulation_shared_##n) fill(__start_emulation_shared_##n, __stop_emulation_shared_##n);
    EMULATION_SECTIONS(EMULATION_FILL)
    fill((char *)m.dynamic_shared.data(), (char *)(m.dynamic_shared.data() + m.dynamic_shared.size()));
}

#define DYNAMIC_SHARED(type, name) type *const name = (type *)emulation::machine().dynamic_shared.data()

// ---- running a kernel

inline bool give_turns(std::vector<int> &order, unsigned asleep) {  // give a turn to every thread that can run
    Machine &m = machine();
    bool moved = false;
    for (int number : order) {
        Thread &thread = m.threads[number];
        if (asleep >> (number / WARP) & 1) continue;
        if (thread.state == IN_WARP && m.warps[number / WARP].generation != thread.generation) thread.state = READY;
        if (thread.state != READY) continue;
        moved = true;
        enter(thread);
        if (!m.error.empty()) return false;
    }
    return moved;
}

inline void run_block(int count, std::mt19937 *random) {
    Machine &m = machine();
    fill_shared();
    std::vector<int> order(count);
    for (int i = 0; i < count; i++) {
        Thread &thread = m.threads[i];
        const unsigned n = i;
        thread.index = dim3{n % m.block_shape.x, n / m.block_shape.x % m.block_shape.y,
                            n / (m.block_shape.x * m.block_shape.y)};
        thread.number = i;
        thread.state = READY;
        thread.fake_stack = nullptr;
#if defined(__SANITIZE_ADDRESS__)
        ASAN_UNPOISON_MEMORY_REGION(&m.stacks[i * STACK_BYTES], STACK_BYTES);  // what the last fiber left
#endif
        prepare(thread.context, &m.stacks[i * STACK_BYTES], fiber_main);
        order[i] = i;
    }
    for (WarpState &warp : m.warps) warp.generation = warp.arrived = 0;
    for (;;) {
        if (random)
            for (int i = count - 1; i > 0; i--) std::swap(order[i], order[(*random)() % (i + 1)]);
        const unsigned asleep = random ? (*random)() : 0;  // half of the warps, so that others get ahead of them
        if (give_turns(order, asleep) || (m.error.empty() && asleep && give_turns(order, 0u))) continue;
        if (!m.error.empty()) return;
        int done = 0, waiting = 0;
        for (Thread &thread : m.threads) {
            done += thread.state == DONE;
            waiting += thread.state == AT_BARRIER;
        }
        if (done == count) return;
        if (waiting != count) {
            for (Thread &thread : m.threads)
                if (thread.state == IN_WARP) return fail(std::string("some lanes of a warp never came to ") + thread.at);
            return fail("a thread left while others wait for it at a barrier");
        }
        for (Thread &thread : m.threads) thread.state = READY;
    }
}

template <class T>
std::string code_of(T *) {
    using Plain = typename std::remove_cv<T>::type;
    if (!std::is_arithmetic<Plain>::value) return "p*";
    return (std::is_floating_point<Plain>::value ? "pf" : std::is_signed<Plain>::value ? "pi" : "pu") +
           std::to_string(sizeof(T));
}
template <class T>
std::string code_of(T) {
    return (std::is_floating_point<T>::value ? "f" : std::is_signed<T>::value ? "i" : "u") + std::to_string(sizeof(T));
}

// The types of a kernel's parameters: "pu4" for a pointer to 32-bit unsigned numbers, "i8" for a 64-bit one, ...
template <class... P>
const char *signature(void (*)(P...)) {
    static const std::string text = ((code_of(P{}) + " ") + ... + std::string());
    return text.c_str();
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void **values, std::index_sequence<I...>) {
    kernel(*(P *)values[I]...);
}

template <class... P>
const char *run(void (*kernel)(P...), const unsigned *shape, size_t shared_bytes, void **values, long seed) {
    Machine &m = machine();
    m.error.clear();
    m.current = nullptr;
    m.grid_shape = dim3{shape[0], shape[1], shape[2]};
    m.block_shape = dim3{shape[3], shape[4], shape[5]};
    const int count = shape[3] * shape[4] * shape[5];
    if (count % WARP || count > MOST_THREADS) return "a block must hold whole warps, and at most 1024 threads";
    if (count > m.stack_count) {
        std::free(m.stacks);
        m.stacks = (char *)std::malloc(count * STACK_BYTES);
        m.stack_count = count;
    }
    m.threads.resize(count);
    m.warps.resize(count / WARP);
    m.dynamic_shared.assign((shared_bytes + 7) / 8, 0);
    m.body = [&] { call(kernel, values, std::index_sequence_for<P...>()); };
    std::mt19937 random((unsigned)seed);
    for (unsigned z = 0; z < shape[2]; z++)
        for (unsigned y = 0; y < shape[1]; y++)
            for (unsigned x = 0; x < shape[0]; x++) {
                m.block = dim3{x, y, z};
                run_block(count, seed ? &random : nullptr);
                if (!m.error.empty()) return m.error.c_str();
            }
    return nullptr;
}

#define EMULATED_KERNEL(name)                                                                                  \
    extern "C" const char *signature_of_##name() { return emulation::signature(name); }                       \
    extern "C" const char *run_##name(const unsigned *shape, size_t shared_bytes, void **values, long seed) { \
        return emulation::run(name, shape, shared_bytes, values, seed);                                       \
    }

}  // namespace emulation

// ---- what CUDA C++ has built in

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (emulation::machine().current->index)
#define blockIdx (emulation::machine().block)
#define blockDim (emulation::machine().block_shape)
#define gridDim (emulation::machine().grid_shape)

__attribute__((noinline)) inline void __syncthreads() { emulation::barrier(); }
__attribute__((noinline)) inline void __syncwarp(unsigned mask = 0xffffffffu) { emulation::exchange("__syncwarp", mask, nullptr, 0); }

namespace emulation {

inline int lane() { return machine().current->number % WARP; }

template <class T>
T take(const char *what, unsigned mask, T value, int from) {
    static_assert(sizeof(T) <= 8, "a shuffle moves up to eight bytes");
    uint64_t mine = 0;
    std::memcpy(&mine, &value, sizeof value);
    auto box = exchange(what, mask, &mine, 1);
    T result = value;
    if (from >= 0 && from < WARP) std::memcpy(&result, &box[from][0], sizeof result);
    return result;
}

__attribute__((noinline)) inline unsigned ballot(const char *what, unsigned mask, bool flag) {
    const uint64_t mine = flag;
    auto box = exchange(what, mask, &mine, 1);
    unsigned flags = 0;
    for (int i = 0; i < WARP; i++) flags |= (unsigned)box[i][0] << i;
    return flags;
}

}  // namespace emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
    return emulation::take("__shfl_sync", mask, value, from % 32);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
    return emulation::take("__shfl_up_sync", mask, value, emulation::lane() - (int)distance);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
    return emulation::take("__shfl_down_sync", mask, value, emulation::lane() + (int)distance);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return emulation::take("__shfl_xor_sync", mask, value, emulation::lane() ^ bits);
}
inline unsigned __ballot_sync(unsigned mask, int flag) { return emulation::ballot("__ballot_sync", mask, flag); }
inline int __any_sync(unsigned mask, int flag) { return emulation::ballot("__any_sync", mask, flag) != 0; }
inline int __all_sync(unsigned mask, int flag) { return emulation::ballot("__all_sync", mask, flag) == 0xffffffffu; }
inline unsigned __match_any_sync(unsigned mask, int value) {
    const uint64_t mine = (unsigned)value;
    auto box = emulation::exchange("__match_any_sync", mask, &mine, 1);
    unsigned same = 0;
    for (int i = 0; i < 32; i++) same |= (unsigned)(box[i][0] == mine) << i;
    return same;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline float __uint_as_float(unsigned x) {
    float value;
    std::memcpy(&value, &x, sizeof value);
    return value;
}
inline int atomicAdd(int *at, int value) {
    const int old = *at;
    *at += value;
    return old;
}
inline int max(int a, int b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
using std::isnan;
using std::sqrt;

// mma.m16n8k256 of bits with AND and popcount, fragments as the PTX ISA lays them out: with g = lane / 4, t = lane % 4,
// registers 0 and 1 of A hold columns 32 t .. of rows g and g + 8, registers 2 and 3 the same from column 128 on;
// register r of B rows 32 t + 128 r .. of column g; C rows g and g + 8, columns 2 t and 2 t + 1.
__attribute__((noinline)) inline int4 and_popcount(uint4 a, uint2 b, int4 start) {
    const uint64_t mine[6] = {a.x, a.y, a.z, a.w, b.x, b.y};
    auto box = emulation::exchange("mma", 0xffffffffu, mine, 6);
    const int g = emulation::lane() / 4, t = emulation::lane() % 4;
    auto sum = [&](int row, int column) {
        int total = 0;
        for (int word = 0; word < 8; word++) {
            const uint64_t in_a = box[row % 8 * 4 + word % 4][word / 4 * 2 + row / 8];
            const uint64_t in_b = box[column * 4 + word % 4][4 + word / 4];
            total += __builtin_popcountll(in_a & in_b);
        }
        return total;
    };
    return int4{start.x + sum(g, 2 * t), start.y + sum(g, 2 * t + 1), start.z + sum(g + 8, 2 * t),
                start.w + sum(g + 8, 2 * t + 1)};
}
