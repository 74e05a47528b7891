/* What a training step does between its matrix products, on a CPU: each function passes over its values once or twice,
   where torch's operators pass over them once each. Small products are here, too: what torch reads, converts and writes
   around them costs as much as they do. native.py compiles this file for the machine it is on, once for each type of
   value (-DBF16, else float32), and says what the functions are called with.

   Values are read from and rounded to their type, all else is float32. Arrays are dense and in C order unless a stride
   is given; matrices of values have a row for each example or word. Sums are in an order that is the same each time, on
   however many threads (of OpenMP, which torch's operators have theirs from). `draws` are of a Dropout: 16 bits each,
   kept from `first` on, what is kept is scaled. Without draws all is kept. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { PARTS = 2 }; /* that threads share batches in; sums are of these */

#define INLINE static inline __attribute__((always_inline)) /* with what is constant where it is called */

#ifdef BF16
typedef uint16_t value;

static inline float get(value x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

static inline value put(float x) { /* to the nearest, of two the even one */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; /* the NaNs that a processor makes stay NaN */
}
#else
typedef float value;
static inline float get(value x) { return x; }
static inline value put(float x) { return x; }
#endif

/* e^x, infinite above e^88.4 and never below e^-87: 2^n e^r, the second by a polynomial. For float32 that of Cephes' expf
   (Moshier); bf16 is served by a shorter one, to 3e-6 of it, the best of its degree. */
#define LN_2 0.693147180559945309f
#define PER_LN_2 1.44269504088896341f
#define SHORT(r)                                                                                                       \
    ((((4.145856684e-2f * (r) + 1.679093227e-1f) * (r) + 5.000436042e-1f) * (r) + 9.999633902e-1f) * (r)               \
     + 9.999992610e-1f)
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 89.0f ? 89.0f : x; /* as written, both let NaN pass */
    const float n = rintf(x * PER_LN_2);
#ifdef BF16
    const float r = x - n * LN_2, p = SHORT(r);
#else
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
#endif
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* The same, 0 where less than e^-87 is left: of a share of nothing, say. */
static inline float power_of(float x) {
    const float found = exponential(x);
    return x < -87.0f ? 0.0f : found;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* Near 0 the quotient would lose its leading digits: there, in float32, a polynomial of Cephes' tanhf. */
static inline float tangent(float x) {
    const float far = 2.0f * sigmoid(2.0f * x) - 1.0f, square = x * x;
#ifdef BF16
    return square < 1e-3f ? x : far;
#else
    float p = -5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    return square < 0.390625f ? p * square * x + x : far;
#endif
}

/* A vector is as long as a register: of a longer one the compiler would keep each part in memory. ACROSS of them for each
   of DOWN rows, beside what they are made of, are all registers. */
#if defined __AVX512F__
enum { LANES = 16, ACROSS = 4 };
#define UNROLLED /* in bf16 sums would pass through memory */
#define ALL(f, s) EIGHT(f, 0, s), EIGHT(f, 8, s)
#define HALVES(f) f(1) f(2) f(4) f(8)
#elif defined __AVX__
enum { LANES = 8, ACROSS = 2 };
#define UNROLLED _Pragma("GCC unroll 4")
#define ALL(f, s) EIGHT(f, 0, s)
#define HALVES(f) f(1) f(2) f(4)
#else
enum { LANES = 4, ACROSS = 2 };
#define UNROLLED _Pragma("GCC unroll 4")
#define ALL(f, s) FOUR(f, 0, s)
#define HALVES(f) f(1) f(2)
#endif
#define FOUR(f, j, s) f(j, s), f(j + 1, s), f(j + 2, s), f(j + 3, s)
#define EIGHT(f, j, s) FOUR(f, j, s), FOUR(f, j + 4, s)
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));

#ifdef BF16
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t patterns __attribute__((vector_size(4 * LANES)));

/* By hand where the compiler would do both by halves. */
static inline lanes get_lanes(const value *x) {
#if defined __AVX512F__
    return (lanes)((patterns)_mm512_cvtepu16_epi32(*(const __m256i_u *)x) << 16);
#elif defined __AVX2__
    return (lanes)((patterns)_mm256_cvtepu16_epi32(*(const __m128i_u *)x) << 16);
#else
    return (lanes)(__builtin_convertvector(*(const halves *)x, patterns) << 16);
#endif
}

static inline void put_lanes(lanes x, value *to) {
#ifdef __AVX512BF16__
    *(halves *)to = (halves)_mm512_cvtneps_pbh((__m512)x);
#else
    patterns bits = (patterns)x;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
#if defined __AVX2__ && !defined __AVX512F__
    const __m256i both = (__m256i)bits;
    *(__m128i_u *)to = _mm_packus_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
#else
    *(halves *)to = __builtin_convertvector(bits, halves);
#endif
#endif
}
#else
static inline lanes get_lanes(const value *x) { return *(const lanes *)x; }
static inline void put_lanes(lanes x, value *to) { *(lanes *)to = x; }
#endif

enum { ABREAST = 4 };

/* The same of `many` lanes, at most ABREAST, which take turns: one alone would wait for each operation to end. AVX-512 has
   instructions that bf16 is served by. */
INLINE void exponentials(lanes *x, const int many) {
#if defined BF16 && defined __AVX512F__
    __m512 n[ABREAST], p[ABREAST];
#define EACH_OF for (int v = 0; v < many; v++)
    EACH_OF x[v] = (lanes)_mm512_max_ps(_mm512_set1_ps(-87.0f), (__m512)x[v]); /* what comes second is NaN's way */
    EACH_OF x[v] = (lanes)_mm512_min_ps(_mm512_set1_ps(89.0f), (__m512)x[v]);
    EACH_OF n[v] = _mm512_roundscale_ps((__m512)(x[v] * PER_LN_2), _MM_FROUND_NO_EXC);
    EACH_OF x[v] -= (lanes)n[v] * LN_2;
    EACH_OF p[v] = (__m512)SHORT(x[v]);
    EACH_OF x[v] = (lanes)_mm512_scalef_ps(p[v], n[v]);
#else
    float *const all = (float *)x;
#pragma omp simd
    for (int i = 0; i < many * LANES; i++) all[i] = exponential(all[i]);
#endif
}

INLINE void sigmoids(lanes *x, const int many) {
#if defined BF16 && defined __AVX512F__ /* to 14 digits, then to all: a division takes longer, and makes 1 / inf 0 */
    EACH_OF x[v] = (lanes)_mm512_min_ps(_mm512_set1_ps(88.0f), (__m512)-x[v]);
    exponentials(x, many);
    EACH_OF {
        const lanes all = 1.0f + x[v], near = (lanes)_mm512_rcp14_ps((__m512)all);
        x[v] = near * (2.0f - all * near);
    }
#else
    for (int v = 0; v < many; v++) x[v] = -x[v];
    exponentials(x, many);
    for (int v = 0; v < many; v++) x[v] = 1.0f / (1.0f + x[v]);
#endif
}

/* tanh(x) from `half`, sigmoid(2x), as above. */
static inline lanes tangents(lanes x, lanes half) {
    const lanes far = 2.0f * half - 1.0f, square = x * x;
#ifdef BF16
    const lanes near = x;
    const integers is_near = square < 1e-3f;
#else
    lanes near = -5.70498872745e-3f * square + 2.06390887954e-2f;
    near = near * square - 5.37397155531e-2f;
    near = near * square + 1.33314422036e-1f;
    near = near * square - 3.33332819422e-1f;
    near = near * square * x + x;
    const integers is_near = square < 0.390625f;
#endif
    return (lanes)((is_near & (integers)near) | (~is_near & (integers)far));
}

static inline long round_up(long count, long to) { return (count + to - 1) / to * to; }

/* Room from the start of a cache line: then no lanes lie in two. */
static float *lines_of(long count) { return aligned_alloc(64, round_up(count * sizeof(float), 64)); }

static float *zeros_of(long count) {
    float *const room = lines_of(count);
    return room ? memset(room, 0, count * sizeof *room) : NULL;
}

/* Of all lanes, in pairs of pairs: the compiler may not choose an order itself, and would add one after the other. */
static inline float sum_of(lanes all) {
#define BESIDE(j, s) ((j) ^ (s))
#define ADD(s) all += __builtin_shufflevector(all, all, ALL(BESIDE, s));
    HALVES(ADD)
    return all[0];
}

/* A square of 32-bit numbers on its side, its rows `apart` apart and then `next`: of the squares in it, and of those in
   these, two change places. */
INLINE void turn_square(const float *from, long apart, float *to, long next) {
    lanes rows[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) rows[i] = *(const lanes *)(from + i * apart);
#define LEFT(j, s) ((j) & (s) ? LANES + (j) - (s) : (j))
#define RIGHT(j, s) ((j) & (s) ? LANES + (j) : (j) + (s))
#define EXCHANGE(s)                                                                                                    \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & s)) {                                           \
        const lanes a = rows[i], b = rows[i + s];                                                                      \
        rows[i] = __builtin_shufflevector(a, b, ALL(LEFT, s));                                                         \
        rows[i + s] = __builtin_shufflevector(a, b, ALL(RIGHT, s));                                                    \
    }
    HALVES(EXCHANGE)
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) *(lanes *)(to + i * next) = rows[i];
}

static inline float kept(const int16_t *draws, long i, int32_t first, float scale) {
    return draws[i] >= first ? scale : 0.0f;
}

typedef int16_t shorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

/* Of lanes from there on. What is written in halves of a register is waited for where it is read as a whole, so what
   rows of few lanes hand on is in lanes everywhere. */
static inline lanes kept_lanes(const int16_t *draws, int32_t first, float scale) {
#if defined __AVX512F__
    const integers all = (integers)_mm512_cvtepi16_epi32(*(const __m256i_u *)draws);
#elif defined __AVX2__
    const integers all = (integers)_mm256_cvtepi16_epi32(*(const __m128i_u *)draws);
#else
    const integers all = __builtin_convertvector(*(const shorts *)draws, integers);
#endif
    return (lanes)((all >= first) & (integers)(scale + (lanes){0}));
}

/* ---- GELU of rows plus a bias, its tanh approximation: z sigmoid(2u), 2u = a (z + c z^3); `slopes`, if wanted, are for
   its gradient; y may be x */

INLINE void gelu_lanes(const value *x, const float *bias, value *y, value *slopes) {
    const float a = 1.5957691216057308f, c = 0.044715f;
    lanes z[ABREAST], cubic[ABREAST], gate[ABREAST];
    for (int v = 0; v < ABREAST; v++) z[v] = get_lanes(x + v * LANES) + *(const lanes *)(bias + v * LANES);
    for (int v = 0; v < ABREAST; v++) cubic[v] = c * z[v] * z[v] * z[v], gate[v] = a * (z[v] + cubic[v]);
    sigmoids(gate, ABREAST);
    for (int v = 0; v < ABREAST; v++) put_lanes(z[v] * gate[v], y + v * LANES);
    for (int v = 0; v < ABREAST && slopes; v++)
        put_lanes(gate[v] + gate[v] * (1.0f - gate[v]) * (a * (z[v] + 3.0f * cubic[v])), slopes + v * LANES);
}

int gelu(
    const value *x, const float *restrict bias, value *y, value *restrict slopes, long rows, long width
) {
    const long wide = ABREAST * LANES, whole = width / wide * wide, left = width - whole;
    float last_bias[ABREAST * LANES] = {0};
    value last[ABREAST * LANES] = {0}, steep[ABREAST * LANES];
    memcpy(last_bias, bias + whole, left * sizeof *bias);
    for (long r = 0; r < rows; r++, x += width, y += width) {
        value *const slope = slopes ? slopes + r * width : NULL;
        for (long j = 0; j < whole; j += wide) gelu_lanes(x + j, bias + j, y + j, slope ? slope + j : NULL);
        if (!left) continue;
        memcpy(last, x + whole, left * sizeof *x);
        gelu_lanes(last, last_bias, last, steep);
        memcpy(y + whole, last, left * sizeof *y);
        if (slope) memcpy(slope + whole, steep, left * sizeof *steep);
    }
    return 0;
}

/* Adds to `on_bias`; `down` may be `upstream`. */
static void gelu_row_back(
    const value *upstream, const value *restrict slopes, value *down, float *restrict on_bias, long width
) {
    const long whole = width / LANES * LANES;
    for (long j = 0; j < whole; j += LANES) {
        const lanes z = get_lanes(upstream + j) * get_lanes(slopes + j);
        *(lanes *)(on_bias + j) += z;
        put_lanes(z, down + j);
    }
    for (long j = whole; j < width; j++) {
        const float z = get(upstream[j]) * get(slopes[j]);
        on_bias[j] += z;
        down[j] = put(z);
    }
}

int gelu_back(
    const value *restrict upstream, const value *restrict slopes, value *restrict down, float *restrict on_bias,
    long rows, long width
) {
    memset(on_bias, 0, width * sizeof(float));
    for (long r = 0; r < rows; r++)
        gelu_row_back(upstream + r * width, slopes + r * width, down + r * width, on_bias, width);
    return 0;
}

/* ---- 64-bit words of a generator of torch's, the Mersenne Twister MT19937 (Matsumoto & Nishimura 1998), as its
   `random_` draws them: of two 32-bit numbers the first is the upper half. `told` is what `get_state` gives. */

enum { TWISTED = 624, AHEAD = 397 };
typedef struct {
    uint64_t seed;
    int32_t left, seeded; /* 1 + how many of the numbers are not drawn yet */
    uint64_t next;        /* which is drawn next */
    uint64_t numbers[TWISTED];
} Told;

static inline uint32_t twisted(uint32_t here, uint32_t after, uint32_t ahead) {
    const uint32_t both = (here & 0x80000000u) | (after & 0x7fffffffu);
    return ahead ^ (both >> 1) ^ (after & 1u ? 0x9908b0dfu : 0u);
}

int random_words(Told *restrict told, uint32_t *restrict halves, long count) {
    uint32_t numbers[TWISTED];
    const long wanted = 2 * count;
    for (long i = 0; i < TWISTED; i++) numbers[i] = (uint32_t)told->numbers[i];
    for (long done = 0, some; done < wanted; done += some) {
        if (told->left == 1) {
#pragma omp simd
            for (long i = 0; i < TWISTED - AHEAD; i++)
                numbers[i] = twisted(numbers[i], numbers[i + 1], numbers[i + AHEAD]);
#pragma omp simd safelen(16)
            for (long i = TWISTED - AHEAD; i < TWISTED - 1; i++)
                numbers[i] = twisted(numbers[i], numbers[i + 1], numbers[i + AHEAD - TWISTED]);
            numbers[TWISTED - 1] = twisted(numbers[TWISTED - 1], numbers[0], numbers[AHEAD - 1]);
            told->left = TWISTED + 1;
            told->next = 0;
        }
        some = told->left - 1 < wanted - done ? told->left - 1 : wanted - done;
        const uint32_t *restrict from = numbers + told->next;
#pragma omp simd
        for (long i = 0; i < some; i++) {
            uint32_t y = from[i];
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c5680u;
            y ^= (y << 15) & 0xefc60000u;
            halves[done + i] = y ^ (y >> 18);
        }
        told->left -= (int32_t)some;
        told->next += some;
    }
    for (long i = 0; i < TWISTED; i++) told->numbers[i] = numbers[i];
#pragma omp simd
    for (long k = 0; k < count; k++) {
        const uint32_t upper = halves[2 * k];
        halves[2 * k] = halves[2 * k + 1];
        halves[2 * k + 1] = upper;
    }
    return 0;
}

/* ---- dropout */

int drop(
    const value *restrict x, const int16_t *restrict draws, long first, float scale, value *restrict y, long count
) {
#pragma omp simd
    for (long i = 0; i < count; i++) y[i] = put(get(x[i]) * kept(draws, i, first, scale));
    return 0;
}

/* ---- dropout of what, with a bias, is added to rows in float32, whole lanes wide, and the layer norm of the sum, in the
   type of values. `statistics`, [2, rows]: of each row its mean, and what it is scaled by */

static inline void norm_row(
    const float *restrict x, const float *restrict weight, const float *restrict bias, float eps, value *restrict y,
    float *restrict mean_of, float *restrict scale_of, long width
) {
    lanes sums = {0}, squares = {0};
    for (long j = 0; j < width; j += LANES) sums += *(const lanes *)(x + j);
    const float mean = sum_of(sums) / width;
    for (long j = 0; j < width; j += LANES) {
        const lanes far = *(const lanes *)(x + j) - mean;
        squares += far * far;
    }
    const float scale = 1.0f / sqrtf(sum_of(squares) / width + eps);
    for (long j = 0; j < width; j += LANES) {
        const lanes normed = (*(const lanes *)(x + j) - mean) * scale;
        put_lanes(normed * *(const lanes *)(weight + j) + *(const lanes *)(bias + j), y + j);
    }
    *mean_of = mean;
    *scale_of = scale;
}

/* Adds to `on_weight` and `on_bias`. */
static inline void norm_row_back(
    const value *restrict upstream, const float *restrict x, const float *restrict weight, float mean, float scale,
    float *restrict down, float *restrict on_weight, float *restrict on_bias, long width
) {
    lanes sums = {0}, alongs = {0};
    for (long j = 0; j < width; j += LANES) {
        const lanes above = get_lanes(upstream + j), normed = (*(const lanes *)(x + j) - mean) * scale;
        const lanes part = above * *(const lanes *)(weight + j);
        *(lanes *)(on_weight + j) += above * normed;
        *(lanes *)(on_bias + j) += above;
        sums += part;
        alongs += part * normed;
    }
    const float sum = sum_of(sums) / width, along = sum_of(alongs) / width;
    for (long j = 0; j < width; j += LANES) {
        const lanes part = get_lanes(upstream + j) * *(const lanes *)(weight + j);
        *(lanes *)(down + j) = scale * (part - sum - (*(const lanes *)(x + j) - mean) * scale * along);
    }
}

/* `total` = x + dropout(added + more). */
int add_and_norm(
    const float *restrict x, const value *restrict added, const float *restrict more, const int16_t *restrict draws,
    long first, float scale, const float *restrict weight, const float *restrict bias, float eps, float *restrict total,
    value *restrict y, float *restrict statistics, long rows, long width
) {
    for (long r = 0; r < rows; r++, x += width, added += width, total += width, y += width) {
        for (long j = 0; j < width; j += LANES) {
            lanes passed = get_lanes(added + j) + *(const lanes *)(more + j);
            if (draws) passed *= kept_lanes(draws + r * width + j, first, scale);
            *(lanes *)(total + j) = *(const lanes *)(x + j) + passed;
        }
        norm_row(total, weight, bias, eps, y, statistics + r, statistics + rows + r, width);
    }
    return 0;
}

/* `above`: the gradient by `total`, null where nothing else is made of it than its norm. */
int add_and_norm_back(
    const float *restrict above, const value *restrict upstream, const float *restrict total,
    const float *restrict weight, const float *restrict statistics, const int16_t *restrict draws, long first,
    float scale, float *restrict down, value *restrict on_added, float *restrict on_more, float *restrict on_weight,
    float *restrict on_bias, long rows, long width
) {
    memset(on_more, 0, width * sizeof(float));
    memset(on_weight, 0, width * sizeof(float));
    memset(on_bias, 0, width * sizeof(float));
    for (long r = 0; r < rows; r++, total += width, upstream += width, down += width, on_added += width) {
        norm_row_back(upstream, total, weight, statistics[r], statistics[rows + r], down, on_weight, on_bias, width);
        for (long j = 0; j < width; j += LANES) {
            lanes passed = *(const lanes *)(down + j);
            if (above) *(lanes *)(down + j) = passed += *(const lanes *)(above + r * width + j);
            if (draws) passed *= kept_lanes(draws + r * width + j, first, scale);
            *(lanes *)(on_more + j) += passed;
            put_lanes(passed, on_added + j);
        }
    }
    return 0;
}

/* ---- the gradient by an embedding, [entries, width]: of each entry the sum over the `count` places that it was read at.
   Threads have entries of their own, so sums are in the order of the places. */
int embed_back(
    const float *restrict upstream, const int64_t *restrict places, float *restrict on_weight, long count, long entries,
    long width
) {
    const long part = (entries + PARTS - 1) / PARTS;
#pragma omp parallel for
    for (long first = 0; first < entries; first += part) {
        const long last = entries - first < part ? entries : first + part;
        memset(on_weight + first * width, 0, (last - first) * width * sizeof *on_weight);
        for (long i = 0; i < count; i++) {
            if (places[i] < first || places[i] >= last) continue;
            float *restrict to = on_weight + places[i] * width;
            const float *restrict from = upstream + i * width;
#pragma omp simd
            for (long j = 0; j < width; j++) to[j] += from[j];
        }
    }
    return 0;
}

/* ---- attention, [batch, time, 3 (query, key, value), heads, size] to [batch, time, heads, size] */

enum { MOST_WORDS = 64, BLOCK = 6 }; /* BLOCK rows are made at once; what has a row for each word has room for whole ones */

INLINE void multiply_few(
    const float *restrict a, long down, long across, const float *restrict b, float *restrict c, long inner, long wide,
    const int rows
) {
    for (long j = 0; j < wide; j += LANES) {
        lanes sums[BLOCK] = {0};
        for (long k = 0; k < inner; k++) {
            const lanes from = *(const lanes *)(b + k * wide + j);
            for (int i = 0; i < rows; i++) sums[i] += a[i * down + k * across] * from;
        }
        for (int i = 0; i < rows; i++) *(lanes *)(c + i * wide + j) = sums[i];
    }
}

/* c = a b: a has its rows `down` apart and its columns `across`, b and c are dense and `wide`, in whole lanes.
   a and c have room for whole blocks. */
static void multiply(
    const float *restrict a, long down, long across, const float *restrict b, float *restrict c, long rows, long inner,
    long wide
) {
    for (; rows > BLOCK / 2; rows -= BLOCK, a += BLOCK * down, c += BLOCK * wide)
        multiply_few(a, down, across, b, c, inner, wide, BLOCK);
    if (rows > 0) multiply_few(a, down, across, b, c, inner, wide, BLOCK / 2);
}

/* Of one example, [time, parts, heads, size], the rows of each part and head: [parts, heads, tall, size]. Memory is read
   as it lies, at once for all heads: what each head alone reads lies far apart. */
static void read_rows(const value *restrict x, float *restrict rows, long parts, long heads, long time, long size) {
    for (long t = 0; t < time; t++)
        for (long part = 0; part < parts * heads; part++, x += size) {
            float *restrict row = rows + (part * round_up(time, BLOCK) + t) * size;
            for (long d = 0; d < size; d += LANES) *(lanes *)(row + d) = get_lanes(x + d);
        }
}

static void write_rows(const float *restrict rows, value *restrict x, long parts, long heads, long time, long size) {
    for (long t = 0; t < time; t++)
        for (long part = 0; part < parts * heads; part++, x += size) {
            const float *restrict row = rows + (part * round_up(time, BLOCK) + t) * size;
            for (long d = 0; d < size; d += LANES) put_lanes(*(const lanes *)(row + d), x + d);
        }
}

static void scale_rows(float *restrict rows, float factor, long count) {
#pragma omp simd
    for (long i = 0; i < count; i++) rows[i] *= factor;
}

static void turn(const float *restrict rows, float *restrict columns, long time, long size, long wide) {
    float square[LANES][LANES] __attribute__((aligned(64)));
    for (long t = 0; t < wide; t += LANES)
        for (long d = 0; d < size; d += LANES) {
            const float *const from = rows + t * size + d;
            for (long i = 0; time - t < LANES && i < LANES; i++)
                *(lanes *)square[i] = t + i < time ? *(const lanes *)(from + i * size) : (lanes){0};
            if (time - t < LANES) turn_square(*square, LANES, columns + d * wide + t, wide);
            else turn_square(from, size, columns + d * wide + t, wide);
        }
}

/* Of one row of one head the draws, as factors; `left` of all draws follow from this row on. What a row lacks of whole
   lanes is of the next ones: nobody looks there. */
static inline void choose(
    const int16_t *restrict draws, long left, long first, float scale, float *restrict times, const long wide
) {
    int16_t last[MOST_WORDS] = {0};
    if (!draws || left < wide) {
        if (draws) memcpy(last, draws, left * sizeof *draws);
        else first = INT16_MIN, scale = 1.0f;
        draws = last;
    }
    for (long j = 0; j < wide; j += LANES) *(lanes *)(times + j) = kept_lanes(draws + j, first, scale);
}

/* `hidden` of one example in rows of whole lanes, in which nobody looks beyond `time`. */
static void read_hidden(const float *restrict hidden, long apart, float *restrict below, long time, long wide) {
    for (long r = 0; r < time; r++)
        for (long j = 0; j < wide; j++) below[r * wide + j] = j < time ? hidden[r * apart + j] : -INFINITY;
}

/* Of rows of scores the powers; `totals`, [rows, 2]: the largest score, and what powers are scaled by to be shares. What
   waits for a sum of lanes waits for those of all rows at once. */
INLINE void soften(float *restrict scores, float *restrict totals, long rows, const long wide) {
    for (long r = 0; r < rows; r++) {
        float most = -INFINITY;
#pragma omp simd reduction(max : most)
        for (long j = 0; j < wide; j++) most = scores[r * wide + j] > most ? scores[r * wide + j] : most;
        totals[2 * r] = most;
    }
    for (long r = 0; r < rows; r++) {
        float *restrict score = scores + r * wide;
        lanes sums = {0};
#pragma omp simd
        for (long j = 0; j < wide; j++) score[j] = power_of(score[j] - totals[2 * r]);
        for (long j = 0; j < wide; j += LANES) sums += *(const lanes *)(score + j);
        totals[2 * r + 1] = 1.0f / sum_of(sums);
    }
}

INLINE int attend_wide(
    const value *restrict qkv, const float *restrict hidden, long hidden_batch, long hidden_row,
    const int16_t *restrict draws, long first, float scale, value *restrict looked, float *restrict totals, long batch,
    long time, long heads, long size, const long wide
) {
    const long tall = round_up(time, BLOCK), head = tall * size, rows = batch * heads * time;
    float *const room = zeros_of(4 * heads * head + wide * size + 2 * tall * wide);
    if (!room) return 1;
    float *const given = room, *const found = given + 3 * heads * head, *const keys = found + heads * head;
    float *const shares = keys + wide * size, *const below = shares + tall * wide;
    for (long b = 0; b < batch; b++) {
        if (!b || hidden_batch) read_hidden(hidden + b * hidden_batch, hidden_row, below, time, wide);
        read_rows(qkv + b * time * 3 * heads * size, given, 3, heads, time, size);
        scale_rows(given, 1.0f / sqrtf(size), heads * head);
        for (long h = 0; h < heads; h++) {
            const float *const query = given + h * head, *const key = query + heads * head;
            turn(key, keys, time, size, wide);
            multiply(query, size, 1, keys, shares, time, size, wide);
            const long row = (b * heads + h) * time;
            float own[2 * MOST_WORDS], *restrict total = totals ? totals + 2 * row : own;
#pragma omp simd
            for (long i = 0; i < time * wide; i++) shares[i] += below[i];
            soften(shares, total, time, wide);
            for (long r = 0; r < time; r++) {
                float *restrict share = shares + r * wide, times[MOST_WORDS];
                choose(draws ? draws + (row + r) * time : NULL, (rows - row - r) * time, first, scale, times, wide);
#pragma omp simd
                for (long j = 0; j < wide; j++) share[j] *= total[2 * r + 1] * times[j];
            }
            multiply(shares, wide, 1, key + heads * head, found + h * head, time, time, size);
        }
        write_rows(found, looked + b * time * heads * size, 1, heads, time, size);
    }
    free(room);
    return 0;
}

INLINE int attend_back_wide(
    const value *restrict upstream, const value *restrict qkv, const float *restrict hidden, long hidden_batch,
    long hidden_row, const float *restrict totals, const int16_t *restrict draws, long first, float scale,
    value *restrict down, long batch, long time, long heads, long size, const long wide
) {
    const long tall = round_up(time, BLOCK), head = tall * size, rows = batch * heads * time;
    const float steep = 1.0f / sqrtf(size);
    float *const room = zeros_of(7 * heads * head + 2 * wide * size + 4 * tall * wide);
    if (!room) return 1;
    float *const given = room, *const above = given + 3 * heads * head, *const found = above + heads * head;
    float *const keys = found + 3 * heads * head, *const contents = keys + wide * size;
    float *const shares = contents + wide * size, *const slopes = shares + tall * wide;
    float *const below = slopes + tall * wide, *const parts = below + tall * wide;
    for (long b = 0; b < batch; b++) {
        if (!b || hidden_batch) read_hidden(hidden + b * hidden_batch, hidden_row, below, time, wide);
        read_rows(qkv + b * time * 3 * heads * size, given, 3, heads, time, size);
        read_rows(upstream + b * time * heads * size, above, 1, heads, time, size);
        scale_rows(given, steep, heads * head);
        for (long h = 0; h < heads; h++) {
            const float *const query = given + h * head, *const key = query + heads * head;
            const float *const handed = above + h * head;
            float *const on_query = found + h * head, *const on_key = on_query + heads * head;
            turn(key, keys, time, size, wide);
            turn(key + heads * head, contents, time, size, wide);
            multiply(query, size, 1, keys, shares, time, size, wide);
            multiply(handed, size, 1, contents, slopes, time, size, wide);
            float alongs[MOST_WORDS];
            for (long r = 0; r < time; r++) {
                const long row = (b * heads + h) * time + r;
                float *restrict share = shares + r * wide, *restrict slope = slopes + r * wide;
                float *restrict part = parts + r * wide, times[MOST_WORDS];
                lanes sums = {0};
                const float most = totals[2 * row], factor = totals[2 * row + 1];
                choose(draws ? draws + row * time : NULL, (rows - row) * time, first, scale, times, wide);
#pragma omp simd
                for (long j = 0; j < wide; j++) {
                    part[j] = power_of(share[j] + below[r * wide + j] - most) * factor;
                    share[j] = part[j] * times[j]; /* what the contents were summed with */
                    slope[j] *= share[j];
                }
                for (long j = 0; j < wide; j += LANES) sums += *(const lanes *)(slope + j);
                alongs[r] = sum_of(sums);
            }
            for (long r = 0; r < time; r++)
#pragma omp simd
                for (long j = 0; j < wide; j++) slopes[r * wide + j] -= parts[r * wide + j] * alongs[r];
            multiply(shares, 1, wide, handed, on_key + heads * head, time, time, size);
            multiply(slopes, wide, 1, key, on_query, time, time, size);
            multiply(slopes, 1, wide, query, on_key, time, time, size);
        }
        scale_rows(found, steep, heads * head);
        write_rows(found, down + b * time * 3 * heads * size, 3, heads, time, size);
    }
    free(room);
    return 0;
}

/* `hidden`: what is added to the scores of a row, from -inf to 0; 0 strides where all share it. `totals`,
   [batch, heads, time, 2]: the largest score, and what powers of e are scaled by to be shares, if wanted for the backward
   pass. `size` is in whole lanes. Of a few words rows are one register, which the compiler is told. */
int attend(
    const value *restrict qkv, const float *restrict hidden, long hidden_batch, long hidden_row,
    const int16_t *restrict draws, long first, float scale, value *restrict looked, float *restrict totals, long batch,
    long time, long heads, long size
) {
#define ATTEND(wide)                                                                                                   \
    attend_wide(                                                                                                       \
        qkv, hidden, hidden_batch, hidden_row, draws, first, scale, looked, totals, batch, time, heads, size, wide     \
    )
    return time <= LANES ? ATTEND(LANES) : ATTEND(round_up(time, LANES));
}

int attend_back(
    const value *restrict upstream, const value *restrict qkv, const float *restrict hidden, long hidden_batch,
    long hidden_row, const float *restrict totals, const int16_t *restrict draws, long first, float scale,
    value *restrict down, long batch, long time, long heads, long size
) {
#define ATTEND_BACK(wide)                                                                                              \
    attend_back_wide(                                                                                                  \
        upstream, qkv, hidden, hidden_batch, hidden_row, totals, draws, first, scale, down, batch, time, heads, size,  \
        wide                                                                                                           \
    )
    return time <= LANES ? ATTEND_BACK(LANES) : ATTEND_BACK(round_up(time, LANES));
}

/* ---- products of small matrices. What they sum over lies in words: one value in each, of bf16 two. */

#ifdef BF16
enum { EACH = 2 };
typedef int32_t word __attribute__((may_alias, aligned(2)));
typedef int32_t words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline word join(value even, value odd) { return (word)((uint32_t)odd << 16 | even); }
static inline words join_lanes(const value *even, const value *odd) {
    return (words)((patterns)get_lanes(odd) | (patterns)get_lanes(even) >> 16);
}

static inline lanes add_products(lanes sum, words a, words b) {
#ifdef __AVX512BF16__
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    return sum + (lanes)(a << 16) * (lanes)(b << 16) + (lanes)(a & -65536) * (lanes)(b & -65536);
#endif
}

static inline lanes add_product(lanes sum, word a, words b) {
#ifdef __AVX512BF16__
    const words all = a - (words){0};
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)all, (__m512bh)b);
#else
    return sum + get((value)a) * (lanes)(b << 16) + get((value)((uint32_t)a >> 16)) * (lanes)(b & -65536);
#endif
}
#else
enum { EACH = 1 };
typedef float word;
typedef lanes words;
static inline word join(value even, value odd) { return (void)odd, even; }
static inline words join_lanes(const value *even, const value *odd) { return (void)odd, *(const words *)even; }
static inline lanes add_product(lanes sum, word a, words b) { return sum + a * b; }
static inline lanes add_products(lanes sum, words a, words b) { return sum + a * b; }
#endif

enum {
    DOWN = 6,                      /* rows whose sums registers hold, of ACROSS vectors each */
    PANEL = ACROSS * LANES,        /* columns whose sums they hold */
    BESIDE = LANES == 16 ? DOWN : 4 * DOWN,    /* columns that lie side by side when they are turned */
    GROUP = LANES == 16 ? DOWN << 17 : BESIDE, /* rows that meet all panels before others meet any; the first is all */
    COLUMNS = 64,                  /* columns that a thread makes at once: a line of a cache or more of each row */
    BROAD = 4 * COLUMNS,           /* columns that a batch norm's gradients are made of at once: long pieces of rows */
    NEAR = LANES == 16 ? 96 : 128, /* words that are summed over at a time: what rows share stays in the near cache */
    SOME = 96                      /* rows that are multiplied at once */
};

INLINE void multiply_block(
    const word *restrict a, long down, long across, const word *restrict b, long wide, float *restrict c, long apart,
    long inner, int more, const int rows, const int vectors
) {
    lanes sums[DOWN][ACROSS];
    if (LANES == 16) /* it is there when written */
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) __builtin_prefetch(c + i * apart + v * LANES, 1);
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sums[i][v] = (lanes){0}; /* all at once they would be zeroed in memory */
    UNROLLED
    for (long k = 0; k < inner; k++) {
        words from[ACROSS];
        for (int v = 0; v < vectors; v++) from[v] = *(const words *)(b + k * wide + v * LANES);
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) sums[i][v] = add_product(sums[i][v], a[i * down + k * across], from[v]);
    }
    if (more) /* written out, or the sums would pass through memory; written out above, too, they would in bf16 */
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 6
            for (int v = 0; v < vectors; v++) sums[i][v] += *(const lanes *)(c + i * apart + v * LANES);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 6
        for (int v = 0; v < vectors; v++) *(lanes *)(c + i * apart + v * LANES) = sums[i][v];
}

/* Each for itself: where one function has them all, other values take up registers that their sums need. */
#define OF(rows, vectors)                                                                                              \
    static __attribute__((noinline)) void multiply_##rows##_##vectors(                                                 \
        const word *restrict a, long down, long across, const word *restrict b, long wide, float *restrict c,          \
        long apart, long inner, int more                                                                               \
    ) {                                                                                                                \
        multiply_block(a, down, across, b, wide, c, apart, inner, more, rows, vectors < ACROSS ? vectors : ACROSS);    \
    }
#define OF_ROWS(rows) OF(rows, 1) OF(rows, 2) OF(rows, 3) OF(rows, 4)
OF_ROWS(1)
OF_ROWS(2)
OF_ROWS(6)
typedef void Block(const word *, long, long, const word *, long, float *, long, long, int);
static Block *const BLOCKS[][4] = {
    {multiply_1_1, multiply_1_2, multiply_1_3, multiply_1_4},
    {multiply_2_1, multiply_2_2, multiply_2_3, multiply_2_4},
    {multiply_6_1, multiply_6_2, multiply_6_3, multiply_6_4},
};

/* Of no more columns than a panel has. */
static void multiply_panel(
    const word *a, long down, long across, long block, const word *b, float *c, long apart, long rows, long inner,
    long columns, int more
) {
    const long wide = round_up(columns, LANES), times = (inner + NEAR - 1) / NEAR;
    const long deep = times ? (inner + times - 1) / times : 0; /* few words take as long to write as many */
    float cut[DOWN * PANEL]; /* the last columns, if they do not fill their lanes: whole ones are written */
    for (long k = 0; k < inner; k += deep)
        for (long r = 0, some; r < rows; r += some) {
            some = rows - r >= DOWN ? DOWN : rows - r >= 2 ? 2 : 1;
            const word *const from = a + r / BESIDE * block + r % BESIDE * down + k * across;
            const long here = inner - k < deep ? inner - k : deep;
            const int adds = more || k;
            Block *const multiply = BLOCKS[some == DOWN ? 2 : some - 1][wide / LANES - 1];
            if (columns == wide) {
                multiply(from, down, across, b + k * wide, wide, c + r * apart, apart, here, adds);
                continue;
            }
            multiply(from, down, across, b + k * wide, wide, cut, PANEL, here, 0);
            for (long i = 0; i < some; i++)
                for (long n = 0; n < columns; n++) {
                    float *const sum = c + (r + i) * apart + n;
                    *sum = cut[i * PANEL + n] + (adds ? *sum : 0.0f);
                }
        }
}

/* c, [rows, columns], its rows `apart` apart, = a b, or `more` of it: of a each BESIDE rows are a `block` apart, rows of
   these `down` and words `across`, b has its columns in panels of PANEL, one after the other, of which each has rows
   of whole lanes: whole rows of many columns might lie pages apart, and then share a few lines of a cache. */
static void multiply_words(
    const word *a, long down, long across, long block, const word *b, float *c, long apart, long rows, long inner,
    long columns, int more
) {
    for (long r = 0; r < rows; r += GROUP)
        for (long j = 0; j < columns; j += PANEL)
            multiply_panel(
                a + r / BESIDE * block, down, across, block, b + j * inner, c + r * apart + j, apart,
                rows - r < GROUP ? rows - r : GROUP, inner, columns - j < PANEL ? columns - j : PANEL, more
            );
}

/* The same where a is [rows, inner], */
static void multiply_rows(const word *a, const word *b, float *c, long apart, long rows, long inner, long columns) {
    multiply_words(a, inner, 1, BESIDE * inner, b, c, apart, rows, inner, columns, 0);
}

/* and where it is what turn_columns has made of `words` of words, from some on. */
static void multiply_columns(
    const word *a, long words, const word *b, float *c, long apart, long rows, long inner, long columns, int more
) {
    multiply_words(a, 1, BESIDE, BESIDE * words, b, c, apart, rows, inner, columns, more);
}

/* The words of rows that are not 0, where these are few, as they are of digits' pixels. */
typedef struct {
    long parts, deep; /* of each row, each of so many words, the last of what is left */
    word *words;      /* [rows, inner], of each part those that are not 0, one after the other */
    int32_t *places;  /* [rows, inner]: where in the row they are */
    int32_t *many;    /* [rows, parts]: how many */
} Sparse;

/* Whether products of rows with what is not 0 of x take less time than those of blocks: in float32, of three in ten
   anywhere, they took .75 of it, of four as long. */
static int is_sparse(const value *restrict x, long count) {
    long zeros = 0;
#pragma omp simd reduction(+ : zeros)
    for (long i = 0; i < count; i++) zeros += !get(x[i]);
    return 4 * zeros >= 3 * count;
}

/* Of a, [rows, inner]; parts are as deep as took the least time. Not 0 where there is no memory; `words` are to be
   freed. */
static int find_words(const word *restrict a, long rows, long inner, Sparse *restrict to) {
    const long most = 3 * NEAR, parts = (inner + most - 1) / most, deep = parts ? (inner + parts - 1) / parts : 0;
    const long all = rows * inner + LANES; /* whole lanes are written */
    word *restrict words = (word *)lines_of(2 * all + rows * parts);
    if (!words) return 1;
    int32_t *restrict places = (int32_t *)(words + all), *restrict many = places + all;
    *to = (Sparse){parts, deep, words, places, many};
    for (long r = 0; r < rows; r++, a += inner)
        for (long first = 0, here; first < inner; first += here, words += here, places += here) {
            here = inner - first < deep ? inner - first : deep;
            long found = 0, k = first;
#ifdef __AVX512F__
            __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            place = _mm512_add_epi32(_mm512_set1_epi32(k), place);
            for (; k + LANES <= first + here; k += LANES, place = _mm512_add_epi32(place, _mm512_set1_epi32(LANES))) {
                const __m512i some = _mm512_loadu_si512(a + k);
                const __mmask16 are = _mm512_test_epi32_mask(some, some);
                _mm512_storeu_si512(words + found, _mm512_maskz_compress_epi32(are, some));
                _mm512_storeu_si512(places + found, _mm512_maskz_compress_epi32(are, place));
                found += __builtin_popcount(are);
            }
#endif
            for (; k < first + here; k++) {
                const word one = a[k];
                words[found] = one, places[found] = k;
                found += one != 0;
            }
            *many++ = found;
        }
    return 0;
}

enum { BREADTH = LANES == 4 ? 32 : 64 }; /* columns that registers hold the sums of, of one row */

/* Sums of each column: four registers of 64 bytes are few, and an addition would wait for the last to end. */
enum { TURNS = LANES == 16 ? 4 : 1 };

/* c, BREADTH columns of a row, = a b, or `more` of it; a has the words at `places`. */
INLINE void multiply_places(
    const word *restrict a, const int32_t *restrict places, long many, const word *restrict b, float *restrict c,
    const int more
) {
    lanes sums[TURNS][BREADTH / LANES];
#pragma GCC unroll 4
    for (int t = 0; t < TURNS; t++)
#pragma GCC unroll 8
        for (int v = 0; v < BREADTH / LANES; v++) sums[t][v] = more && !t ? *(const lanes *)(c + v * LANES) : (lanes){0};
    long k = 0;
    for (; k + TURNS <= many; k += TURNS)
#pragma GCC unroll 4
        for (int t = 0; t < TURNS; t++) {
            const word *const row = b + (long)places[k + t] * BREADTH;
#pragma GCC unroll 8
            for (int v = 0; v < BREADTH / LANES; v++)
                sums[t][v] = add_product(sums[t][v], a[k + t], *(const words *)(row + v * LANES));
        }
    for (; k < many; k++) {
        const word *const row = b + (long)places[k] * BREADTH;
#pragma GCC unroll 8
        for (int v = 0; v < BREADTH / LANES; v++)
            sums[0][v] = add_product(sums[0][v], a[k], *(const words *)(row + v * LANES));
    }
#pragma GCC unroll 4
    for (int t = 1; t < TURNS; t++)
#pragma GCC unroll 8
        for (int v = 0; v < BREADTH / LANES; v++) sums[0][v] += sums[t][v];
#pragma GCC unroll 8
    for (int v = 0; v < BREADTH / LANES; v++) *(lanes *)(c + v * LANES) = sums[0][v];
}

static __attribute__((noinline)) void multiply_row(
    const word *a, const int32_t *places, long many, const word *b, float *c, int more
) {
    if (more) multiply_places(a, places, many, b, c, 1); /* or the sums would pass through memory */
    else multiply_places(a, places, many, b, c, 0);
}

/* The same product as of multiply_words, where panels of b are of BREADTH columns. */
static void multiply_sparse(
    const Sparse *a, const word *b, float *c, long apart, long rows, long inner, long columns, int more
) {
    float cut[BREADTH];
    for (long j = 0; j < columns; j += BREADTH)
        for (long p = 0; p < a->parts; p++)
            for (long r = 0; r < rows; r++) {
                const long first = r * inner + p * a->deep, many = a->many[r * a->parts + p];
                float *const to = c + r * apart + j;
                const int adds = more || p;
                if (columns - j >= BREADTH) {
                    multiply_row(a->words + first, a->places + first, many, b + j * inner, to, adds);
                    continue;
                }
                multiply_row(a->words + first, a->places + first, many, b + j * inner, cut, 0);
                for (long n = 0; n < columns - j; n++) to[n] = cut[n] + (adds ? to[n] : 0.0f);
            }
}

/* Of `wide` columns how many the panel has that `column` is in. */
static inline long wide_of(long column, long wide, long panel) {
    const long left = wide - column / panel * panel;
    return left < panel ? left : panel;
}

/* Of a row, plus a bias if there is one. */
static inline void put_row(const float *restrict x, const float *restrict bias, value *restrict to, long count) {
    const long whole = count / LANES * LANES;
    for (long j = 0; j < whole; j += LANES) {
        lanes here = *(const lanes *)(x + j);
        if (bias) here += *(const lanes *)(bias + j);
        put_lanes(here, to + j);
    }
    for (long j = whole; j < count; j++) to[j] = put(x[j] + (bias ? bias[j] : 0.0f));
}

static inline void get_row(const value *restrict x, float *restrict to, long count) {
#pragma omp simd
    for (long j = 0; j < count; j++) to[j] = get(x[j]);
}

#if defined BF16 && LANES == 16
/* Six words in six instructions, where a compiler takes 17 for the loop; eight values are read. */
typedef uint16_t octet __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint64_t pair __attribute__((vector_size(16)));
typedef uint64_t two_words __attribute__((aligned(2), may_alias));

enum { SIX = DOWN == 6, READ_OF_SIX = 8 };

static inline void join_six(const value *restrict x, const value *restrict below, word *restrict to) {
    const octet even = *(const octet *)x, odd = *(const octet *)below;
    *(octet *)to = __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
    *(two_words *)(to + 4) = ((pair)__builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15))[0];
}
#else
enum { SIX = 0, READ_OF_SIX = 0 };

static inline void join_six(const value *restrict x, const value *restrict below, word *restrict to) {
    (void)x, (void)below, (void)to;
}
#endif

/* Of two rows of values, of which the lower may be none, each word of two that lie one below the other, to row `r` of
   panels of `words` rows; up to `wide` the rest is zero. */
INLINE void stack_row(
    const value *restrict x, const value *restrict below, long count, word *restrict to, long r, long words, long wide,
    const long panel
) {
    for (long j = 0; j < wide; j += panel) {
        const long next = wide - j < panel ? wide - j : panel, here = count - j < next ? count - j : next;
        word *restrict row = to + j * words + r * next;
        if (SIX && panel == 6 && below && count - j >= READ_OF_SIX) {
            join_six(x + j, below + j, row);
            continue;
        }
        if (below && here == panel) {
#pragma omp simd
            for (long i = 0; i < panel; i++) row[i] = join(x[j + i], below[j + i]);
            continue;
        }
        for (long i = 0; i < here; i++) row[i] = join(x[j + i], below ? below[j + i] : 0);
        for (long i = here > 0 ? here : 0; i < next; i++) row[i] = 0;
    }
}

/* Rows of `count` values, `apart` apart, as rows of `wide` words in panels. */
static void stack_rows(
    const value *restrict x, long rows, long count, long apart, word *restrict to, long wide, long panel
) {
    const long words = (rows + EACH - 1) / EACH;
    for (long r = 0; r < words; r++, x += EACH * apart) {
        const value *const below = EACH * r + EACH <= rows ? x + (EACH - 1) * apart : NULL;
        if (panel == PANEL) stack_row(x, below, count, to, r, words, wide, PANEL);
        else stack_row(x, below, count, to, r, words, wide, BREADTH);
    }
}

/* The same of weights; `room` is for EACH rows of them. */
static void stack_weights(
    const float *restrict weight, long rows, long count, long apart, value *restrict room, word *restrict to, long wide
) {
    const long words = (rows + EACH - 1) / EACH;
    for (long r = 0; r < words; r++) {
        const long some = rows - EACH * r < EACH ? rows - EACH * r : EACH;
        for (long i = 0; i < some; i++) put_row(weight + (EACH * r + i) * apart, NULL, room + i * count, count);
        stack_row(room, some == EACH ? room + (EACH - 1) * count : NULL, count, to, r, words, wide, PANEL);
    }
}

/* Rows of `count` values to be multiplied as columns, [blocks of BESIDE columns, words, BESIDE]: what is read together
   lies together. */
static void turn_columns(const value *restrict x, long rows, long count, word *restrict to) {
    const long words = (rows + EACH - 1) / EACH, most = 32 * DOWN;
    for (long n = 0; n < count; n += most) {
        const long here = count - n < most ? count - n : most;
        for (long r = 0; r < words; r++) {
            const value *const from = x + EACH * r * count + n;
            const value *const below = EACH * r + EACH <= rows ? from + (EACH - 1) * count : NULL;
            stack_row(from, below, here, to + n * words, r, words, round_up(here, BESIDE), BESIDE);
        }
    }
}

/* Columns as rows of words, [count, deep]. */
static void turn_words(const value *restrict x, long rows, long count, word *restrict to) {
    const long deep = (rows + EACH - 1) / EACH;
    word square[LANES][LANES] __attribute__((aligned(64)));
    for (long n = 0; n < count; n += LANES)
        for (long r = 0; r < deep; r += LANES) {
            const long wide = count - n < LANES ? count - n : LANES, tall = deep - r < LANES ? deep - r : LANES;
            const value *const from = x + EACH * r * count + n;
            const int whole = wide == LANES && EACH * (r + LANES) <= rows;
            for (long i = 0; i < tall; i++) {
                const value *const even = from + EACH * i * count, *const odd = even + (EACH - 1) * count;
                const int both = EACH * (r + i + 1) <= rows;
                if (whole) *(words *)square[i] = join_lanes(even, odd);
                else
                    for (long j = 0; j < wide; j++) square[i][j] = join(even[j], both ? odd[j] : 0);
            }
            if (whole) {
                turn_square((float *)*square, LANES, (float *)(to + n * deep + r), deep);
                continue;
            }
            for (long j = 0; j < wide; j++)
                for (long i = 0; i < tall; i++) to[(n + j) * deep + r + i] = square[i][j];
        }
}

/* Weights, [rows, count], with their rows as columns, `wide` of them in panels, of words of values that lie side by
   side. */
static void turn_weights(const float *restrict weight, long rows, long count, word *restrict to, long wide, long panel) {
    const long inner = (count + EACH - 1) / EACH;
    float square[LANES][LANES] __attribute__((aligned(64)));
    for (long r = 0; r < wide; r += LANES) {
        const long next = wide_of(r, wide, panel), first = r / panel * panel;
        float *const columns = (float *)(to + first * inner + r - first);
        for (long k = 0; k < inner; k += LANES) {
            const float *const from = weight + r * count + EACH * k;
            const long left = count - EACH * k, some = left < EACH * LANES ? left : EACH * LANES;
            if (rows - r >= LANES && some == EACH * LANES) {
#ifdef BF16
                for (long i = 0; i < LANES; i++)
                    for (long half = 0; half < EACH; half++)
                        put_lanes(*(const lanes *)(from + i * count + half * LANES), (value *)square[i] + half * LANES);
                turn_square(*square, LANES, columns + k * next, next);
#else
                turn_square(from, count, columns + k * next, next);
#endif
                continue;
            }
            memset(square, 0, sizeof square);
            for (long i = 0; i < LANES && r + i < rows; i++) put_row(from + i * count, NULL, (value *)square[i], some);
            turn_square(*square, LANES, *square, LANES);
            for (long i = 0; i < LANES && k + i < inner; i++)
                memcpy(columns + (k + i) * next, square[i], sizeof square[i]);
        }
    }
}

/* Rows of `count` values as rows of words. If these are not whole ones, in `room`. */
static const word *as_words(const value *restrict x, long rows, long count, word *restrict room) {
    const long inner = (count + EACH - 1) / EACH;
    if (count % EACH == 0) return (const word *)x;
    for (long r = 0; r < rows; r++, x += count)
        for (long k = 0; k < inner; k++)
            room[r * inner + k] = join(x[EACH * k], EACH * k + 1 < count ? x[EACH * k + 1] : 0);
    return room;
}

/* ---- linear layers, [rows, before] to [rows, after]. Weights and their gradients are read and written as they are
   kept, in float32, which spares each step a copy of both. */

/* Columns of y = x weight^T, `some` from `first` on; `a`: the words of x, `few`: those that are not 0, or none if these are
   not few. Not 0 where there is no memory, as below. */
static int product(
    const word *restrict a, const Sparse *few, const float *restrict weight, float *restrict y, long first, long some,
    long rows, long before, long after
) {
    const long inner = (before + EACH - 1) / EACH;
    word *const turned = (word *)lines_of(inner * COLUMNS);
    if (!turned) return 1;
    const long panel = few ? BREADTH : PANEL, wide = round_up(some, few ? BREADTH : LANES);
    turn_weights(weight + first * before, some, before, turned, wide, panel);
    if (few) multiply_sparse(few, turned, y + first, after, rows, inner, some, 0);
    for (long m = 0; m < rows && !few; m += SOME)
        multiply_rows(
            a + m * inner, turned, y + m * after + first, after, rows - m < SOME ? rows - m : SOME, inner, some
        );
    free(turned);
    return 0;
}

/* Columns of the next, `some`, or `more` of them, its rows `apart` apart; `turned` are those of one, of as many rows, or
   `few` of them. */
static int gradient_columns(
    const word *restrict turned, const Sparse *few, long many, const value *restrict other, long wide,
    float *restrict found, long apart, long some, long rows, int more
) {
    const long words = (rows + EACH - 1) / EACH, lanes_wide = round_up(some, few ? BREADTH : LANES);
    word *const stacked = (word *)lines_of(words * lanes_wide);
    if (!stacked) return 1;
    stack_rows(other, rows, some, wide, stacked, lanes_wide, few ? BREADTH : PANEL);
    if (few) multiply_sparse(few, stacked, found, apart, many, words, some, more);
    else multiply_columns(turned, words, stacked, found, apart, many, words, some, more);
    free(stacked);
    return 0;
}

/* A matrix on its side, or `more` of it, from rows `apart` apart to rows `next` apart. */
static void flip(
    const float *restrict from, long apart, float *restrict to, long next, long rows, long columns, int more
) {
    float square[LANES][LANES] __attribute__((aligned(64)));
    for (long r = 0; r < rows; r += LANES)
        for (long c = 0; c < columns; c += LANES) {
            const float *const here = from + r * apart + c;
            float *const there = to + c * next + r;
            if (rows - r < LANES || columns - c < LANES) {
                for (long i = 0; i < LANES && r + i < rows; i++)
                    for (long j = 0; j < LANES && c + j < columns; j++)
                        there[j * next + i] = here[i * apart + j] + (more ? there[j * next + i] : 0.0f);
                continue;
            }
            turn_square(here, apart, more ? *square : there, more ? LANES : next);
            for (long j = 0; more && j < LANES; j++) *(lanes *)(there + j * next) += *(const lanes *)square[j];
        }
}

/* found, [many, wide], = one^T other, both of `rows`, or, `flipped`, [wide, many]: one is better the narrower, for it is
   turned, or the one that is `sparse`. */
static int gradient(
    const value *restrict one, long many, const value *restrict other, long wide, float *restrict found, long rows,
    int sparse, int flipped
) {
    const long most = rows < EACH * NEAR ? rows : EACH * NEAR;
    word *const turned = (word *)lines_of((most + EACH - 1) / EACH * round_up(many, BESIDE));
    if (!turned) return 1;
    int failed = 0;
    for (long m = 0, part; m < rows; m += part, one += part * many, other += part * wide) {
        part = rows - m < most ? rows - m : most;
        const long words = (part + EACH - 1) / EACH;
        Sparse left = {0};
        if (sparse) turn_words(one, part, many, turned);
        else turn_columns(one, part, many, turned);
        if (sparse) failed |= find_words(turned, many, words, &left);
        const Sparse *const few = left.words ? &left : NULL;
#pragma omp parallel for schedule(dynamic) reduction(| : failed) if (wide > COLUMNS)
        for (long n = 0; n < wide; n += COLUMNS) {
            const long some = wide - n < COLUMNS ? wide - n : COLUMNS;
            if (!flipped) {
                failed |= gradient_columns(turned, few, many, other + n, wide, found + n, wide, some, part, m > 0);
                continue;
            }
            float *const columns = lines_of(many * COLUMNS);
            failed |= !columns || gradient_columns(turned, few, many, other + n, wide, columns, COLUMNS, some, part, 0);
            if (columns) flip(columns, COLUMNS, found + n * many, many, many, some, m > 0);
            free(columns);
        }
        free(left.words);
    }
    free(turned);
    return failed;
}

/* Columns of slopes weight, `some` from `first` on; `a` are the words of slopes. */
static int product_back(
    const word *restrict a, const float *restrict weight, value *restrict down, long first, long some, long rows,
    long before, long after
) {
    const long units = (after + EACH - 1) / EACH, wide = round_up(some, LANES);
    word *const stacked = (word *)lines_of((units + SOME) * wide + EACH * some);
    if (!stacked) return 1;
    float *const found = (float *)(stacked + units * wide);
    stack_weights(weight + first, after, some, before, (value *)(found + SOME * wide), stacked, wide);
    for (long m = 0, part; m < rows; m += part) {
        part = rows - m < SOME ? rows - m : SOME;
#ifdef BF16
        multiply_rows(a + m * units, stacked, found, wide, part, units, some);
        for (long i = 0; i < part; i++) put_row(found + i * wide, NULL, down + (m + i) * before + first, some);
#else
        multiply_rows(a + m * units, stacked, down + m * before + first, before, part, units, some);
#endif
    }
    free(stacked);
    return 0;
}

/* From gradients by y, `slopes`, those by the weight and, if wanted, by x. */
static int products_back(
    const value *restrict slopes, const value *restrict x, const float *restrict weight, value *restrict down,
    float *restrict on_weight, long rows, long before, long after
) {
    const int sparse = is_sparse(x, rows * before), turned = sparse || before < after;
    const long units = (after + EACH - 1) / EACH, more = down && after % EACH ? rows * units : 0;
    word *const room = (word *)lines_of(more + 1);
    if (!room) return 1;
    int failed = turned ? gradient(x, before, slopes, after, on_weight, rows, sparse, 1)
                        : gradient(slopes, after, x, before, on_weight, rows, 0, 0);
    const word *const a = down ? as_words(slopes, rows, after, room) : NULL;
#pragma omp parallel for schedule(dynamic) reduction(| : failed) if (before > COLUMNS)
    for (long k = 0; k < before; k += COLUMNS)
        if (down)
            failed |= product_back(
                a, weight, down, k, before - k < COLUMNS ? before - k : COLUMNS, rows, before, after
            );
    free(room);
    return failed;
}

/* How many of so many rows are multiplied at once. */
static long at_once(long rows) {
    const long times = (rows + SOME - 1) / SOME;
    return times ? round_up((rows + times - 1) / times, DOWN) : 1;
}

/* Rows of y, x weight^T + bias, if there is one; `turned`: words of the weight as columns. */
static int linear_rows(
    const value *restrict x, const word *restrict turned, const float *restrict bias, value *restrict y, long rows,
    long before, long after
) {
    const long inner = (before + EACH - 1) / EACH, wide = round_up(after, LANES);
    float *const sums = lines_of(rows * ((EACH > 1) * wide + (before % EACH) * inner) + 1);
    if (!sums) return 1;
    const word *const a = as_words(x, rows, before, (word *)(sums + rows * wide));
#ifdef BF16
    multiply_rows(a, turned, sums, wide, rows, inner, after);
    for (long i = 0; i < rows; i++) put_row(sums + i * wide, bias, y + i * after, after);
#else
    multiply_rows(a, turned, y, after, rows, inner, after);
    for (long i = 0; bias && i < rows; i++)
#pragma omp simd
        for (long n = 0; n < after; n++) y[i * after + n] += bias[n];
#endif
    free(sums);
    return 0;
}

/* From gradients by rows of y, `slopes`, those by the weight, to which they are added if there are `more`, and, if wanted,
   by x; `stacked`: words of the weight as they are. */
static int linear_rows_back(
    const value *restrict slopes, const value *restrict x, const word *restrict stacked, value *restrict down,
    float *restrict on_weight, long rows, long before, long after, int more
) {
    const long words = (rows + EACH - 1) / EACH, across = round_up(after, BESIDE), wide = round_up(before, LANES);
    word *const turned = (word *)lines_of(words * (across + wide)), *const given = turned + words * across;
    if (!turned) return 1;
    turn_columns(slopes, rows, after, turned);
    stack_rows(x, rows, before, before, given, wide, PANEL);
    multiply_columns(turned, words, given, on_weight, before, after, words, before, more);
    free(turned);
    return down && linear_rows(slopes, stacked, NULL, down, rows, after, before);
}

/* x weight^T + bias, if there is one */
int linear(
    const value *restrict x, const float *restrict weight, const float *restrict bias, value *restrict y, long rows,
    long before, long after
) {
    const long inner = (before + EACH - 1) / EACH, most = at_once(rows);
    word *const turned = (word *)lines_of(inner * round_up(after, LANES));
    if (!turned) return 1;
    turn_weights(weight, after, before, turned, round_up(after, LANES), PANEL);
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (long m = 0; m < rows; m += most)
        failed |= linear_rows(
            x + m * before, turned, bias, y + m * after, rows - m < most ? rows - m : most, before, after
        );
    free(turned);
    return failed;
}

/* Of so many rows how many parts have sums of their own, which then are added up: of few rows it is not worth it. */
static long parts_of(long rows) { return rows < 2 * PARTS * SOME ? 1 : PARTS; }

static void add_row(float *restrict sums, const float *restrict more, long count) {
#pragma omp simd
    for (long i = 0; i < count; i++) sums[i] += more[i];
}

/* `down`, if it is wanted; `on_bias`, if there is one */
int linear_back(
    const value *restrict upstream, const value *restrict x, const float *restrict weight, value *restrict down,
    float *restrict on_weight, float *restrict on_bias, long rows, long before, long after
) {
    const long units = (after + EACH - 1) / EACH, wide = round_up(before, LANES), weights = before * after;
    const long parts = parts_of(rows), part = round_up((rows + parts - 1) / parts, DOWN), most = at_once(part);
    float *const sums = lines_of((parts - 1) * (weights + after) + units * wide + before);
    if (!sums) return 1;
    word *const stacked = (word *)(sums + (parts - 1) * (weights + after));
    if (down) stack_weights(weight, after, before, before, (value *)(stacked + units * wide), stacked, wide);
    int failed = 0;
#pragma omp parallel for reduction(| : failed)
    for (long p = 0; p < parts; p++) {
        float *const of_weight = p ? sums : on_weight, *restrict of_bias = p ? sums + weights : on_bias;
        const long end = (p + 1) * part < rows ? (p + 1) * part : rows;
        if (on_bias) memset(of_bias, 0, after * sizeof *of_bias);
        for (long m = p * part, some; m < end; m += some) {
            const value *const slopes = upstream + m * after;
            some = end - m < most ? end - m : most;
            failed |= linear_rows_back(
                slopes, x + m * before, stacked, down ? down + m * before : NULL, of_weight, some, before, after,
                m > p * part
            );
            for (long i = 0; on_bias && i < some; i++)
#pragma omp simd
                for (long n = 0; n < after; n++) of_bias[n] += get(slopes[i * after + n]);
        }
    }
    if (parts > 1) add_row(on_weight, sums, weights);
    if (parts > 1 && on_bias) add_row(on_bias, sums + weights, after);
    free(sums);
    return failed;
}

/* ---- attention of which one word of each example asks, and all are looked at, x, [batch, time, width] to [batch, width].
   No key is made and no content: a query's product with W x is one of (query W) with x, and the mean of all W x + b is W
   applied to the mean of x, + b. The keys' bias adds the same to all scores of a word, which softmax does not see. The
   width is in whole lanes. */

/* The words themselves as keys and contents: `asked` and `looked`, [heads, batch, width]; `shares`, [batch, heads, time],
   before anything is dropped out; `sums`, [heads, batch], after. */
static int look_at_words(
    const value *restrict asked, const value *restrict x, const float *restrict hidden, long hidden_batch,
    long hidden_row, const int64_t *restrict read, const int16_t *restrict draws, long first, float scale,
    value *restrict looked, float *restrict shares, float *restrict sums, long batch, long time, long heads, long width
) {
    const float factor = 1.0f / sqrtf(width / heads);
    const long wide = round_up(time, LANES), many = round_up(heads, BLOCK);
    float *const room = zeros_of((round_up(time, BLOCK) + wide + 2 * many) * width + many * wide + 2 * heads);
    if (!room) return 1;
    float *const columns = room, *const rows = columns + wide * width, *const questions = rows + round_up(time, BLOCK) * width;
    float *const found = questions + many * width, *const scores = found + many * width;
    float *const totals = scores + many * wide;
    for (long b = 0; b < batch; b++) {
        const float *const below = hidden + b * hidden_batch + read[b] * hidden_row;
        read_rows(x + b * time * width, rows, 1, 1, time, width);
        for (long h = 0; h < heads; h++)
            read_rows(asked + (h * batch + b) * width, questions + h * width, 1, 1, 1, width);
        turn(rows, columns, time, width, wide);
        multiply(questions, width, 1, columns, scores, heads, width, wide);
        for (long h = 0; h < heads; h++)
            for (long j = 0; j < wide; j++)
                scores[h * wide + j] = j < time ? scores[h * wide + j] * factor + below[j] : -INFINITY;
        soften(scores, totals, heads, wide);
        for (long h = 0; h < heads; h++) {
            const long row = b * heads + h;
            float *restrict share = scores + h * wide, part = totals[2 * h + 1], times[MOST_WORDS], sum = 0.0f;
            choose(draws ? draws + row * time : NULL, (batch * heads - row) * time, first, scale, times, wide);
            for (long j = 0; j < time; j++) {
                shares[row * time + j] = share[j] * part;
                sum += share[j] = share[j] * part * times[j];
            }
            sums[h * batch + b] = sum;
        }
        multiply(scores, wide, 1, rows, found, heads, time, width);
        for (long h = 0; h < heads; h++)
            write_rows(found + h * width, looked + (h * batch + b) * width, 1, 1, 1, width);
    }
    free(room);
    return 0;
}

/* From gradients by `looked`, `above`, and by `sums` those by `asked` and x. */
static int look_at_words_back(
    const value *restrict above, const float *restrict on_sums, const value *restrict asked, const value *restrict x,
    const float *restrict shares, const int16_t *restrict draws, long first, float scale, value *restrict on_asked,
    value *restrict on_x, long batch, long time, long heads, long width
) {
    const float factor = 1.0f / sqrtf(width / heads);
    const long wide = round_up(time, LANES), tall = round_up(time, BLOCK), many = round_up(heads, BLOCK);
    float *const room = zeros_of((2 * tall + wide + heads + 2 * many) * width + (heads + many) * wide + BLOCK);
    if (!room) return 1;
    float *const columns = room, *const rows = columns + wide * width, *const on_rows = rows + tall * width;
    float *const found = on_rows + tall * width, *const handed = found + many * width; /* then the questions */
    float *const taken = handed + (heads + many) * width, *const slopes = taken + heads * wide; /* one below the other */
    for (long b = 0; b < batch; b++) {
        read_rows(x + b * time * width, rows, 1, 1, time, width);
        for (long h = 0; h < heads; h++) {
            read_rows(above + (h * batch + b) * width, handed + h * width, 1, 1, 1, width);
            read_rows(asked + (h * batch + b) * width, handed + (heads + h) * width, 1, 1, 1, width);
        }
        turn(rows, columns, time, width, wide);
        multiply(handed, width, 1, columns, slopes, heads, width, wide);
        for (long h = 0; h < heads; h++) {
            const long row = b * heads + h;
            const float *restrict share = shares + row * time;
            float *restrict slope = slopes + h * wide, *restrict take = taken + h * wide, times[MOST_WORDS], along = 0.0f;
            choose(draws ? draws + row * time : NULL, (batch * heads - row) * time, first, scale, times, wide);
            for (long j = 0; j < time; j++) {
                take[j] = share[j] * times[j]; /* what the words were summed with */
                along += slope[j] = (slope[j] + on_sums[h * batch + b]) * take[j];
            }
            for (long j = 0; j < time; j++) slope[j] = (slope[j] - share[j] * along) * factor;
        }
        multiply(slopes, wide, 1, rows, found, heads, time, width);
        multiply(taken, 1, wide, handed, on_rows, time, 2 * heads, width);
        for (long h = 0; h < heads; h++)
            write_rows(found + h * width, on_asked + (h * batch + b) * width, 1, 1, 1, width);
        write_rows(on_rows, on_x + b * time * width, 1, 1, time, width);
    }
    free(room);
    return 0;
}

/* [batch, heads, size] as [heads, batch, size] or, `back`, the other way. */
static void part_heads(const value *restrict from, value *restrict to, long batch, long heads, long size, int back) {
    for (long b = 0; b < batch; b++)
        for (long h = 0; h < heads; h++) {
            const long together = (b * heads + h) * size, apart = (h * batch + b) * size;
            memcpy(to + (back ? together : apart), from + (back ? apart : together), size * sizeof *to);
        }
}

/* Of each example the word that is read. */
static void pick_words(
    const value *restrict x, const int64_t *restrict read, value *restrict to, long batch, long time, long width
) {
    for (long b = 0; b < batch; b++) memcpy(to + b * width, x + (b * time + read[b]) * width, width * sizeof *to);
}

/* `weight`, [3 (query, key, value), heads, size, width], and `bias`, [3, heads, size]. `query`, [heads, batch, size], and
   what look_at_words is given and gives are for the backward pass. `hidden` is as in `attend`. */
int ask(
    const value *restrict x, const int64_t *restrict read, const float *restrict weight, const float *restrict bias,
    const float *restrict hidden, long hidden_batch, long hidden_row, const int16_t *restrict draws, long first,
    float scale, value *restrict query, value *restrict asked, value *restrict looked, float *restrict shares,
    float *restrict sums, value *restrict found, long batch, long time, long heads, long size
) {
    const long width = heads * size, deep = (size + EACH - 1) / EACH, inner = (width + EACH - 1) / EACH;
    const long of_keys = deep * round_up(width, LANES) + width, of_values = inner * round_up(size, LANES);
    word *const room = (word *)lines_of(of_keys + of_values + 2 * batch * width);
    if (!room) return 1;
    word *const turned = room + of_keys;
    value *const here = (value *)(turned + of_values), *const all = here + batch * width;
    pick_words(x, read, here, batch, time, width);
    int failed = linear(here, weight, bias, all, batch, width, width);
    part_heads(all, query, batch, heads, size, 0);
    for (long h = 0; h < heads; h++) {
        const float *const key = weight + (width + h * size) * width;
        stack_weights(key, size, width, width, (value *)(room + of_keys - width), room, round_up(width, LANES));
        failed |= linear_rows(query + h * batch * size, room, NULL, asked + h * batch * width, batch, size, width);
    }
    failed |= look_at_words(
        asked, x, hidden, hidden_batch, hidden_row, read, draws, first, scale, looked, shares, sums, batch, time, heads,
        width
    );
    for (long h = 0; h < heads; h++) {
        turn_weights(weight + (2 * width + h * size) * width, size, width, turned, round_up(size, LANES), PANEL);
        failed |= linear_rows(looked + h * batch * width, turned, NULL, all + h * batch * size, batch, width, size);
        for (long b = 0; b < batch; b++)
            for (long d = 0; d < size; d++) {
                value *const one = all + (h * batch + b) * size + d;
                *one = put(get(*one) + sums[h * batch + b] * bias[2 * width + h * size + d]);
            }
    }
    part_heads(all, found, batch, heads, size, 1);
    free(room);
    return failed;
}

int ask_back(
    const value *restrict upstream, const value *restrict x, const int64_t *restrict read,
    const float *restrict weight, const float *restrict bias, const int16_t *restrict draws, long first, float scale,
    const value *restrict query, const value *restrict asked, const value *restrict looked,
    const float *restrict shares, const float *restrict sums, value *restrict on_x, float *restrict on_weight,
    float *restrict on_bias, long batch, long time, long heads, long size
) {
    const long width = heads * size, deep = (size + EACH - 1) / EACH, inner = (width + EACH - 1) / EACH;
    const long of_values = deep * round_up(width, LANES) + width, of_keys = inner * round_up(size, LANES);
    const long of_head = batch * width;
    const long values = (2 * heads + 4) * of_head;
    word *const room = (word *)lines_of(of_values + of_keys + heads * batch + values * sizeof(value) / sizeof(float));
    if (!room) return 1;
    word *const turned = room + of_values;
    float *const on_sums = (float *)(turned + of_keys), *restrict of_contents = on_bias + 2 * width;
    value *const on_looked = (value *)(on_sums + heads * batch), *const on_asked = on_looked + heads * of_head;
    value *const above = on_asked + heads * of_head, *const on_query = above + of_head;
    value *const here = on_query + of_head, *const on_here = here + of_head;
    int failed = 0;
    memset(on_bias + width, 0, 2 * width * sizeof *on_bias);
    part_heads(upstream, above, batch, heads, size, 0);
    for (long h = 0; h < heads; h++) {
        const long content = 2 * width + h * size;
        const value *const handed = above + h * batch * size, *const from = looked + h * of_head;
        float *const to = on_weight + content * width;
        stack_weights(
            weight + content * width, size, width, width, (value *)(turned - width), room, round_up(width, LANES)
        );
        failed |= linear_rows_back(handed, from, room, on_looked + h * of_head, to, batch, width, size, 0);
        for (long b = 0; b < batch; b++) {
            float sum = 0.0f;
            for (long d = 0; d < size; d++) {
                const float slope = get(handed[b * size + d]);
                sum += slope * bias[content + d];
                of_contents[h * size + d] += slope * sums[h * batch + b];
            }
            on_sums[h * batch + b] = sum;
        }
    }
    failed |= look_at_words_back(
        on_looked, on_sums, asked, x, shares, draws, first, scale, on_asked, on_x, batch, time, heads, width
    );
    for (long h = 0; h < heads; h++) {
        const long key = (width + h * size) * width;
        const value *const slopes = on_asked + h * of_head;
        failed |= linear_rows_back(query + h * batch * size, slopes, NULL, NULL, on_weight + key, batch, width, size, 0);
        turn_weights(weight + key, size, width, turned, round_up(size, LANES), PANEL);
        failed |= linear_rows(slopes, turned, NULL, above + h * batch * size, batch, width, size);
    }
    part_heads(above, on_query, batch, heads, size, 1);
    pick_words(x, read, here, batch, time, width);
    failed |= linear_back(on_query, here, weight, on_here, on_weight, on_bias, batch, width, width);
    for (long b = 0; b < batch; b++) {
        value *restrict to = on_x + (b * time + read[b]) * width;
        for (long j = 0; j < width; j++) to[j] = put(get(to[j]) + get(on_here[b * width + j]));
    }
    free(room);
    return failed;
}

/* ---- the feed-forward layers of a Transformer, [rows, width] to [rows, width]: y = gelu(x widen^T + bias) narrow^T, some
   rows after others, so that what lies between, [rows, many], is in the caches when it is used */

/* `found` and, if wanted, `slopes` are of gelu. */
int feed(
    const value *restrict x, const float *restrict widen, const float *restrict bias, const float *restrict narrow,
    value *restrict found, value *restrict slopes, value *restrict y, long rows, long width, long many
) {
    const long inner = (width + EACH - 1) / EACH, units = (many + EACH - 1) / EACH, most = at_once(rows);
    word *const widening = (word *)lines_of(inner * round_up(many, LANES) + units * round_up(width, LANES));
    if (!widening) return 1;
    word *const narrowing = widening + inner * round_up(many, LANES);
    turn_weights(widen, many, width, widening, round_up(many, LANES), PANEL);
    turn_weights(narrow, width, many, narrowing, round_up(width, LANES), PANEL);
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (long m = 0; m < rows; m += most) {
        const long some = rows - m < most ? rows - m : most;
        value *const here = found + m * many;
        failed |= linear_rows(x + m * width, widening, NULL, here, some, width, many);
        gelu(here, bias, here, slopes ? slopes + m * many : NULL, some, many);
        failed |= linear_rows(here, narrowing, NULL, y + m * width, some, many, width);
    }
    free(widening);
    return failed;
}

int feed_back(
    const value *restrict upstream, const value *restrict x, const value *restrict found,
    const value *restrict slopes, const float *restrict widen, const float *restrict narrow, value *restrict down,
    float *restrict on_widen, float *restrict on_bias, float *restrict on_narrow, long rows, long width, long many
) {
    const long inner = (width + EACH - 1) / EACH, units = (many + EACH - 1) / EACH, weights = width * many;
    const long parts = parts_of(rows), part = round_up((rows + parts - 1) / parts, DOWN), most = at_once(part);
    const long wide = round_up(width, LANES), across = round_up(many, LANES), all = 2 * weights + many;
    const long words = units * wide + inner * across + width + many;
    float *const sums = lines_of((parts - 1) * all + parts * most * many + words);
    if (!sums) return 1;
    value *const above = (value *)(sums + (parts - 1) * all);
    word *const widening = (word *)(sums + (parts - 1) * all + parts * most * many);
    word *const narrowing = widening + units * wide;
    value *const room = (value *)(narrowing + inner * across);
    stack_weights(widen, many, width, width, room, widening, wide);
    stack_weights(narrow, width, many, many, room, narrowing, across);
    int failed = 0;
#pragma omp parallel for reduction(| : failed)
    for (long p = 0; p < parts; p++) {
        float *const of_widen = p ? sums : on_widen, *const of_narrow = p ? sums + weights : on_narrow;
        float *restrict of_bias = p ? sums + 2 * weights : on_bias;
        value *const handed = above + p * most * many;
        const long end = (p + 1) * part < rows ? (p + 1) * part : rows;
        memset(of_bias, 0, many * sizeof *of_bias);
        for (long m = p * part, some; m < end; m += some) {
            const int more = m > p * part;
            some = end - m < most ? end - m : most;
            failed |= linear_rows_back(
                upstream + m * width, found + m * many, narrowing, handed, of_narrow, some, many, width, more
            );
            for (long i = 0; i < some; i++)
                gelu_row_back(handed + i * many, slopes + (m + i) * many, handed + i * many, of_bias, many);
            failed |= linear_rows_back(
                handed, x + m * width, widening, down + m * width, of_widen, some, width, many, more
            );
        }
    }
    if (parts > 1) {
        add_row(on_widen, sums, weights);
        add_row(on_narrow, sums + weights, weights);
        add_row(on_bias, sums + 2 * weights, many);
    }
    free(sums);
    return failed;
}

/* ---- an LSTM layer; gates in the order input, forget, cell, output, [time, batch, 4, width]. `mask`, [width]: what
   recurrent dropout multiplies units with; of those that it lets through, the kept ones, states are carried on. */

/* Which are kept, and how many; whole words of units carry them, [time, batch, carried]. */
static long kept_units(const float *restrict mask, long width, int32_t *restrict kept) {
    long many = 0;
    for (long n = 0; n < width; n++)
        if (mask[n]) kept[many++] = n;
    return many;
}

/* Their columns of the recurrent weights, [4 width, many]. */
static void keep_columns(
    const float *restrict weight, const float *restrict mask, const int32_t *restrict kept, float *restrict to,
    long width, long many
) {
    for (long n = 0; n < 4 * width; n++, weight += width, to += many)
        for (long k = 0; k < many; k++) to[k] = weight[kept[k]] * mask[kept[k]];
}

/* ---- what words add to an LSTM's gates, [batch, time, inputs] to [time, batch, wide], where dropout lets few inputs of
   a sentence through, the same for all its words: those products alone are made. `mask`, [batch, inputs]: what inputs
   are multiplied with. `wide` is in whole lanes of words. */

enum {
    READ = LANES == 16 ? 12 : 6, /* words of a sentence whose sums registers hold, of two vectors each */
    TWO = 2 * LANES,             /* columns in these */
    HALF = LANES == 16 ? 1 << 19 : 1 << 18 /* bytes of weights: half a second cache, of 1 MB or, often, 512 KB */
};

/* Of each sentence the kept inputs, [batch, `most`], the last of an odd number twice, and how many they are. */
static void kept_inputs(
    const float *restrict mask, long batch, long inputs, long most, int32_t *restrict kept, int32_t *restrict many
) {
    for (long b = 0; b < batch; b++, mask += inputs, kept += most) {
        many[b] = kept_units(mask, inputs, kept);
        if (many[b] % 2) kept[many[b]] = kept[many[b] - 1];
    }
}

/* The weight, [wide, inputs], as values on their side. Not 0 where there is no memory. */
static int turn_whole(const float *restrict weight, value *restrict to, long wide, long inputs) {
    float *const turned = lines_of(inputs * COLUMNS);
    if (!turned) return 1;
    for (long n = 0; n < wide; n += COLUMNS) {
        const long some = wide - n < COLUMNS ? wide - n : COLUMNS;
        flip(weight + n * inputs, inputs, turned, some, some, inputs, 0);
        for (long k = 0; k < inputs; k++) put_row(turned + k * some, NULL, to + k * wide + n, some);
    }
    free(turned);
    return 0;
}

/* TWO columns of one row of words, which are values of these rows. */
INLINE void join_columns(const value *restrict even, const value *restrict odd, words to[2]) {
#ifdef BF16
    typedef value values __attribute__((vector_size(2 * TWO), aligned(2), may_alias));
    const values one = *(const values *)even, other = *(const values *)odd;
#define JOINED(i, first) (first) + (i), (first) + (i) + TWO
    to[0] = (words)__builtin_shuffle(one, other, (values){ALL(JOINED, 0)});
    to[1] = (words)__builtin_shuffle(one, other, (values){ALL(JOINED, LANES)});
#else
    (void)odd;
    for (int v = 0; v < 2; v++) to[v] = *(const words *)(even + v * LANES);
#endif
}

/* TWO gates of some words. `chosen`, [rows, deep]: of each word the kept inputs; of `columns` there are `wide`. */
INLINE void enter_words(
    const word *restrict chosen, long deep, const int32_t *restrict kept, const value *restrict columns, long wide,
    value *restrict gates, long apart, const int rows
) {
    lanes sums[READ][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < 2; v++) sums[i][v] = (lanes){0};
    for (long k = 0; k < deep; k++) {
        words with[2];
        join_columns(columns + kept[EACH * k] * wide, columns + kept[EACH * k + EACH - 1] * wide, with);
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < 2; v++) sums[i][v] = add_product(sums[i][v], chosen[i * deep + k], with[v]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) put_lanes(sums[i][v], gates + i * apart + v * LANES);
}

/* The gradients by two inputs of some words: sums of products of their slopes, [rows, wide], with rows of the weight. */
INLINE void leave_words(
    const value *restrict slopes, const value *restrict one, const value *restrict other, long wide,
    float (*restrict found)[2], const int rows
) {
    lanes sums[READ][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < 2; v++) sums[i][v] = (lanes){0};
    for (long n = 0; n < wide; n += EACH * LANES) {
        const words with[2] = {*(const words *)(one + n), *(const words *)(other + n)};
        for (int i = 0; i < rows; i++) {
            const words from = *(const words *)(slopes + i * wide + n);
            for (int v = 0; v < 2; v++) sums[i][v] = add_products(sums[i][v], from, with[v]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) found[i][v] = sum_of(sums[i][v]);
}

/* More of the gradient by TWO columns of the weight, `sums`, [inputs, TWO]; `turned`, [many, deep]: of each kept input
   words of EACH of the sentence's words, of which there are `time` from here on. */
INLINE void learn_words(
    const value *restrict slopes, long wide, long time, const word *restrict turned, long deep,
    const int32_t *restrict kept, long many, float *restrict sums, const int rows
) {
    words from[READ][2];
    for (int i = 0; i < rows; i++) {
        const long even = EACH * i, odd = even + EACH <= time ? even + EACH - 1 : even;
        join_columns(slopes + even * wide, slopes + odd * wide, from[i]);
    }
    for (long k = 0; k < many; k++, turned += deep) {
        float *const sum = sums + kept[k] * TWO;
        lanes found[2] = {*(const lanes *)sum, *(const lanes *)(sum + LANES)};
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < 2; v++) found[v] = add_product(found[v], turned[i], from[i][v]);
        for (int v = 0; v < 2; v++) *(lanes *)(sum + v * LANES) = found[v];
    }
}

/* Each for itself, as multiply_block's are. */
#define READS(rows)                                                                                                    \
    static __attribute__((noinline)) void enter_##rows(                                                                \
        const word *restrict chosen, long deep, const int32_t *restrict kept, const value *restrict columns,           \
        long wide, value *restrict gates, long apart                                                                   \
    ) {                                                                                                                \
        enter_words(chosen, deep, kept, columns, wide, gates, apart, rows < READ ? rows : READ);                       \
    }                                                                                                                  \
    static __attribute__((noinline)) void leave_##rows(                                                                \
        const value *restrict slopes, const value *restrict one, const value *restrict other, long wide,               \
        float (*restrict found)[2]                                                                                     \
    ) {                                                                                                                \
        leave_words(slopes, one, other, wide, found, rows < READ ? rows : READ);                                       \
    }                                                                                                                  \
    static __attribute__((noinline)) void learn_##rows(                                                                \
        const value *restrict slopes, long wide, long time, const word *restrict turned, long deep,                    \
        const int32_t *restrict kept, long many, float *restrict sums                                                  \
    ) {                                                                                                                \
        learn_words(slopes, wide, time, turned, deep, kept, many, sums, rows < READ ? rows : READ);                    \
    }
#define UP_TO_READ(f) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12)
UP_TO_READ(READS)
#define READER(rows) {enter_##rows, leave_##rows, learn_##rows},
static const struct {
    void (*enter)(const word *, long, const int32_t *, const value *, long, value *, long);
    void (*leave)(const value *, const value *, const value *, long, float (*)[2]);
    void (*learn)(const value *, long, long, const word *, long, const int32_t *, long, float *);
} OF_WORDS[] = {UP_TO_READ(READER)}; /* of one word, of two and so on */

/* As many of `rows` as are read at once: of each time as many, or nearly. */
static inline long read_of(long rows) {
    const long times = (rows + READ - 1) / READ;
    return times ? (rows + times - 1) / times : 1;
}

/* Of one sentence the kept inputs as multiplied, of a word `next` after those of the word before, `apart` apart. */
static void choose_inputs(
    const value *restrict x, const float *restrict mask, const int32_t *restrict kept, long many, long time,
    long inputs, value *restrict to, long next, long apart
) {
    value all[inputs]; /* rounded together, which takes less time than one by one */
    for (long t = 0; t < time; t++, x += inputs, to += next) {
#pragma omp simd
        for (long n = 0; n < inputs; n++) all[n] = put(get(x[n]) * mask[n]);
        for (long k = 0; k < many; k++) to[k * apart] = all[kept[k]];
    }
}

/* `columns`, [inputs, wide], get the weight on its side. Not 0 where there is no memory. */
int enter(
    const value *restrict x, const float *restrict mask, const float *restrict weight, value *restrict columns,
    value *restrict gates, long batch, long time, long inputs, long wide
) {
    const long most = round_up(inputs, 2), fit = HALF / (inputs * (long)sizeof(value)) / TWO * TWO;
    const long broad = fit > TWO ? fit : TWO; /* columns of the weight that all sentences meet before others */
    float *const room = lines_of(batch * (time * most + most + 1));
    if (!room) return 1;
    value *const chosen = (value *)room;
    int32_t *const kept = (int32_t *)(room + batch * time * most), *const many = kept + batch * most;
    kept_inputs(mask, batch, inputs, most, kept, many);
    const int failed = turn_whole(weight, columns, wide, inputs);
    for (long first = 0; first < wide && !failed; first += broad) {
#pragma omp parallel for
        for (long b = 0; b < batch; b++) {
            const long deep = (many[b] + EACH - 1) / EACH, some = read_of(time);
            const int32_t *const here = kept + b * most;
            value *const of = chosen + b * time * most; /* [time, whole words of inputs], the rest of the last word 0 */
            if (!first) {
                memset(of, 0, time * deep * sizeof(word));
                choose_inputs(
                    x + b * time * inputs, mask + b * inputs, here, many[b], time, inputs, of, EACH * deep, 1
                );
            }
            for (long t = 0; t < time; t += some)
                for (long n = first; n < first + broad && n < wide; n += TWO)
                    OF_WORDS[(time - t < some ? time - t : some) - 1].enter(
                        (const word *)of + t * deep, deep, here, columns + n, wide, gates + (t * batch + b) * wide + n,
                        batch * wide
                    );
        }
    }
    free(room);
    return failed;
}

/* Of one sentence the gradient by its inputs. */
static void leave(
    const value *restrict slopes, const value *restrict columns, const float *restrict mask,
    const int32_t *restrict kept, long many, value *restrict down, long time, long inputs, long wide
) {
    const long some = read_of(time);
    memset(down, 0, time * inputs * sizeof *down);
    for (long t = 0; t < time; t += some)
        for (long k = 0; k < many; k += 2) {
            const long here = time - t < some ? time - t : some;
            float found[READ][2];
            OF_WORDS[here - 1].leave(
                slopes + t * wide, columns + kept[k] * wide, columns + kept[k + 1] * wide, wide, found
            );
            for (long j = 0; j < 2 && k + j < many; j++)
                for (long i = 0; i < here; i++)
                    down[(t + i) * inputs + kept[k + j]] = put(found[i][j] * mask[kept[k + j]]);
        }
}

/* Gradients by x and by the weight, whose `columns` enter has made. */
int enter_back(
    const value *restrict slopes, const value *restrict x, const float *restrict mask, const value *restrict columns,
    value *restrict down, float *restrict on_weight, long batch, long time, long inputs, long wide
) {
    const long most = round_up(inputs, 2), deep = (time + EACH - 1) / EACH, all = batch * time * wide;
    float *const room = lines_of(all + batch * (deep * most + most + 1));
    if (!room) return 1;
    value *const beside = (value *)room; /* the slopes of each sentence */
    word *const turned = (word *)(room + all);
    int32_t *const kept = (int32_t *)(turned + batch * deep * most), *const many = kept + batch * most;
    kept_inputs(mask, batch, inputs, most, kept, many);
#pragma omp parallel for
    for (long b = 0; b < batch; b++) {
        const float *const factors = mask + b * inputs;
        const int32_t *const here = kept + b * most;
        const long first = b * time * inputs;
        value *const mine = beside + b * time * wide;
        for (long t = 0; t < time; t++)
            memcpy(mine + t * wide, slopes + (t * batch + b) * wide, wide * sizeof *mine);
        leave(mine, columns, factors, here, many[b], down + first, time, inputs, wide);
        word *const of = turned + b * deep * most; /* [many, words of EACH of the sentence's words] */
        memset(of, 0, many[b] * deep * sizeof *of);
        choose_inputs(x + first, factors, here, many[b], time, inputs, (value *)of, 1, EACH * deep);
    }
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (long n = 0; n < wide; n += TWO) {
        float *const sums = lines_of(inputs * TWO);
        const long some = read_of(deep);
        if (!sums) {
            failed = 1;
            continue;
        }
        memset(sums, 0, inputs * TWO * sizeof *sums);
        for (long b = 0; b < batch; b++)
            for (long r = 0; r < deep; r += some)
                OF_WORDS[(deep - r < some ? deep - r : some) - 1].learn(
                    beside + (b * time + EACH * r) * wide + n, wide, time - EACH * r, turned + b * deep * most + r, deep,
                    kept + b * most, many[b], sums
                );
        flip(sums, TWO, on_weight + n * inputs, inputs, inputs, TWO, 0);
        free(sums);
    }
    free(room);
    return failed;
}

/* Of one word; `more`, [batch, 4, width], is what the word before adds to its gates. Of the first `before`, the cells,
   is null. */
static void lstm_word(
    value *restrict gates, const float *restrict bias, const float *restrict more, const float *restrict before,
    float *restrict cells, value *restrict squashed, value *restrict said, long said_row, long batch, long width
) {
    for (long b = 0; b < batch; b++, gates += 4 * width, more += 4 * width, cells += width, squashed += width) {
        value *restrict enter = gates, *restrict forget = gates + width, *restrict new = gates + 2 * width;
        value *restrict leave = gates + 3 * width, *restrict to = said + b * said_row;
        const float *restrict held = before ? before + b * width : more; /* which then is zero */
        const long whole = width / LANES * LANES;
        for (long j = 0; j < whole; j += LANES) {
            lanes x[4], cell[1]; /* as gates are, and the cell */
            for (int g = 0; g < 4; g++)
                x[g] = get_lanes(gates + g * width + j)
                       + (*(const lanes *)(more + g * width + j) + *(const lanes *)(bias + g * width + j));
            const lanes candidate = x[2];
            x[2] *= 2.0f;
            sigmoids(x, 4);
            x[2] = tangents(candidate, x[2]);
            const lanes here = x[0] * x[2] + x[1] * *(const lanes *)(held + j);
            cell[0] = 2.0f * here;
            sigmoids(cell, 1);
            cell[0] = tangents(here, cell[0]);
            for (int g = 0; g < 4; g++) put_lanes(x[g], gates + g * width + j);
            *(lanes *)(cells + j) = here;
            put_lanes(cell[0], squashed + j);
            put_lanes(x[3] * cell[0], to + j);
        }
#pragma omp simd
        for (long j = whole; j < width; j++) {
            const float in = sigmoid(get(enter[j]) + (more[j] + bias[j]));
            const float out = sigmoid(get(forget[j]) + (more[width + j] + bias[width + j]));
            const float fresh = tangent(get(new[j]) + (more[2 * width + j] + bias[2 * width + j]));
            const float open = sigmoid(get(leave[j]) + (more[3 * width + j] + bias[3 * width + j]));
            cells[j] = in * fresh + out * held[j];
            const float small = tangent(cells[j]);
            enter[j] = put(in);
            forget[j] = put(out);
            new[j] = put(fresh);
            leave[j] = put(open);
            squashed[j] = put(small);
            to[j] = put(open * small);
        }
    }
}

/* `gates` come as what words add to them and go as what is made of all; `said`, [batch, time, width]. */
int lstm(
    value *restrict gates, const float *restrict bias, const float *restrict weight, const float *restrict mask,
    float *restrict cells, value *restrict squashed, value *restrict said, value *restrict states, long time,
    long batch, long width
) {
    int32_t kept[width];
    const long many = kept_units(mask, width, kept), inner = (many + EACH - 1) / EACH, carried = EACH * inner;
    const long wide = 4 * width;
    float *const more = lines_of((SOME + many) * wide + inner * round_up(wide, LANES));
    if (!more) return 1;
    memset(more, 0, SOME * wide * sizeof *more);
    word *const turned = (word *)(more + SOME * wide);
    float *const columns = (float *)(turned + inner * round_up(wide, LANES));
    keep_columns(weight, mask, kept, columns, width, many);
    turn_weights(columns, wide, many, turned, round_up(wide, LANES), PANEL);
    for (long t = 0; t < time; t++)
        for (long b = 0, some; b < batch; b += some) {
            some = batch - b < SOME ? batch - b : SOME;
            const long row = t * batch + b;
            value *const from = said + (b * time + t) * width, *const to = states + row * carried;
            if (t) {
                const word *const a = (const word *)(to - batch * carried);
                multiply_rows(a, turned, more, wide, some, inner, wide);
            }
            lstm_word(
                gates + row * wide, bias, more, t ? cells + (row - batch) * width : NULL, cells + row * width,
                squashed + row * width, from, time * width, some, width
            );
            for (long i = 0; i < some; i++) {
                for (long k = 0; k < many; k++) to[i * carried + k] = from[i * time * width + kept[k]];
                if (many < carried) to[i * carried + many] = 0;
            }
        }
    free(more);
    return 0;
}

/* `above`: what reaches the states of this word. `on_cells` are those of the next word and become those of this. */
static void lstm_word_back(
    const float *restrict above, const value *restrict gates, const float *restrict before,
    const value *restrict squashed, float *restrict on_cells, value *restrict slopes, float *restrict on_bias,
    long width
) {
    const value *restrict enter = gates, *restrict forget = gates + width, *restrict new = gates + 2 * width;
    const value *restrict leave = gates + 3 * width;
#pragma omp simd
    for (long j = 0; j < width; j++) {
        float in = get(enter[j]), out = get(forget[j]), fresh = get(new[j]), open = get(leave[j]);
        float small = get(squashed[j]), cell = on_cells[j] + above[j] * open * (1.0f - small * small);
        float on_in = cell * fresh * in * (1.0f - in), on_out = cell * before[j] * out * (1.0f - out);
        float on_fresh = cell * in * (1.0f - fresh * fresh), on_open = above[j] * small * open * (1.0f - open);
        slopes[j] = put(on_in);
        slopes[width + j] = put(on_out);
        slopes[2 * width + j] = put(on_fresh);
        slopes[3 * width + j] = put(on_open);
        on_bias[j] += on_in;
        on_bias[width + j] += on_out;
        on_bias[2 * width + j] += on_fresh;
        on_bias[3 * width + j] += on_open;
        on_cells[j] = cell * out;
    }
}

/* `slopes`, [time, batch, 4, width], are of the sums that gates are made of. */
int lstm_back(
    const value *restrict upstream, const float *restrict weight, const float *restrict mask,
    const value *restrict gates, const float *restrict cells, const value *restrict squashed,
    const value *restrict states, value *restrict slopes, float *restrict on_weight, float *restrict on_bias, long time,
    long batch, long width
) {
    int32_t kept[width];
    const long many = kept_units(mask, width, kept), across = round_up(many, LANES), carried = round_up(many, EACH);
    const long wide = 4 * width, inner = wide / EACH;
    const long zero = (batch + 2 + 4) * width;
    float *const on_cells = lines_of(zero + (SOME + inner) * across + wide * carried + EACH * many);
    if (!on_cells) return 1;
    memset(on_cells, 0, zero * sizeof *on_cells);
    float *const zeros = on_cells + batch * width, *const above = zeros + width, *const of_word = above + width;
    float *const found = of_word + wide, *const columns = found + SOME * across;
    word *const stacked = (word *)(columns + wide * carried);
    keep_columns(weight, mask, kept, columns, width, many);
    stack_weights(columns, wide, many, many, (value *)(stacked + inner * across), stacked, across);
    memset(on_bias, 0, wide * sizeof *on_bias);
    for (long t = time; t-- > 0;)
        for (long b = 0, some; b < batch; b += some) {
            some = batch - b < SOME ? batch - b : SOME;
            const long row = t * batch + b;
            if (t + 1 < time) {
                const word *const a = (const word *)(slopes + (row + batch) * wide);
                multiply_rows(a, stacked, found, across, some, inner, across);
            }
            for (long i = 0; i < some; i++) {
                get_row(upstream + ((b + i) * time + t) * width, above, width);
                if (t + 1 < time)
                    for (long k = 0; k < many; k++) above[kept[k]] += found[i * across + k];
                lstm_word_back(
                    above, gates + (row + i) * wide, t ? cells + (row + i - batch) * width : zeros,
                    squashed + (row + i) * width, on_cells + (b + i) * width, slopes + (row + i) * wide, of_word, width
                );
            }
            for (long n = 0; n < wide; n++) on_bias[n] += of_word[n]; /* sums of sums lose fewer digits */
            memset(of_word, 0, wide * sizeof *of_word);
        }
    memset(on_weight, 0, wide * width * sizeof *on_weight);
    const int failed =
        time > 1 && gradient(states, carried, slopes + batch * wide, wide, columns, (time - 1) * batch, 0, 0);
    for (long n = 0; time > 1 && n < wide; n += LANES) /* a line of each is read */
        for (long k = 0; k < many; k++)
            for (long i = n; i < n + LANES && i < wide; i++)
                on_weight[i * width + kept[k]] = columns[k * wide + i] * mask[kept[k]];
    free(on_cells);
    return failed;
}

/* Of a batch norm, from means over `rows` and squares about them, which become what is scaled by. */
static void keep_statistics(
    const float *restrict means, float *restrict squares, float eps, float momentum, float *restrict running_mean,
    float *restrict running_var, long rows, long channels
) {
    for (long n = 0; n < channels; n++) {
        running_mean[n] += momentum * (means[n] - running_mean[n]);
        running_var[n] += momentum * (squares[n] / (rows - 1) - running_var[n]);
        squares[n] = 1.0f / sqrtf(squares[n] / rows + eps);
    }
}

/* ReLU, batch norm and dropout of `some` columns of x weight^T, `after` apart. Each pointer is to what is theirs. */
static void normalise(
    const float *restrict bias, const float *restrict gain, const float *restrict shift, float eps, float momentum,
    float *restrict running_mean, float *restrict running_var, const int16_t *restrict draws, long first, float scale,
    value *restrict y, float *restrict reached, float *restrict means, float *restrict scales, long some, long rows,
    long after
) {
    memset(means, 0, some * sizeof *means);
    memset(scales, 0, some * sizeof *scales);
    for (long m = 0; m < rows; m++) {
        float *restrict row = reached + m * after;
#pragma omp simd
        for (long n = 0; n < some; n++) {
            const float z = row[n] + bias[n];
            row[n] = z < 0.0f ? 0.0f : z; /* as written, NaN passes */
            means[n] += row[n];
        }
    }
    for (long n = 0; n < some; n++) means[n] /= rows;
    for (long m = 0; m < rows; m++) {
        const float *restrict row = reached + m * after;
#pragma omp simd
        for (long n = 0; n < some; n++) scales[n] += (row[n] - means[n]) * (row[n] - means[n]);
    }
    keep_statistics(means, scales, eps, momentum, running_mean, running_var, rows, some);
    for (long m = 0; m < rows; m++) {
        const float *restrict row = reached + m * after;
        const int16_t *restrict drawn = draws + m * after;
#pragma omp simd
        for (long n = 0; n < some; n++) {
            const float normed = (row[n] - means[n]) * scales[n] * gain[n] + shift[n];
            y[m * after + n] = put(normed * kept(drawn, n, first, scale));
        }
    }
}

/* The same, then ReLU, batch norm and dropout, in training. `reached`, [rows, after], is what the ReLU lets through;
   `statistics`, [2, after]: the mean, and what is scaled by. */
int layer(
    const value *restrict x, const float *restrict weight, const float *restrict bias, const float *restrict gain,
    const float *restrict shift, float eps, float momentum, float *restrict running_mean, float *restrict running_var,
    int64_t *restrict batches, const int16_t *restrict draws, long first, float scale, value *restrict y,
    float *restrict reached, float *restrict statistics, long rows, long before, long after
) {
    word *const room = before % EACH ? (word *)lines_of(rows * ((before + EACH - 1) / EACH)) : NULL;
    if (before % EACH && !room) return 1;
    const word *const a = as_words(x, rows, before, room);
    const long inner = (before + EACH - 1) / EACH;
    Sparse found = {0};
    int failed = is_sparse(x, rows * before) && find_words(a, rows, inner, &found);
    const Sparse *const few = found.words ? &found : NULL;
    if (!draws) draws = (const int16_t *)reached, first = INT16_MIN, scale = 1.0f; /* from there on any is kept */
#pragma omp parallel for schedule(dynamic) reduction(| : failed) if (after > COLUMNS)
    for (long n = 0; n < after; n += COLUMNS) {
        const long some = after - n < COLUMNS ? after - n : COLUMNS;
        failed |= product(a, few, weight, reached, n, some, rows, before, after);
        normalise(
            bias + n, gain + n, shift + n, eps, momentum, running_mean + n, running_var + n, draws + n, first, scale,
            y + n, reached + n, statistics + n, statistics + after + n, some, rows, after
        );
    }
    ++*batches;
    free(found.words);
    free(room);
    return failed;
}

/* The gradients of that, of the same columns, by what the ReLU was given, `slopes`, by bias, gain and shift. */
static void normalise_back(
    const value *restrict upstream, const float *restrict gain, const int16_t *restrict draws, long first, float scale,
    const float *restrict reached, const float *restrict means, const float *restrict scales, value *restrict slopes,
    float *restrict on_bias, float *restrict on_gain, float *restrict on_shift, long some, long rows, long after
) {
    const float part = 1.0f / rows;
    memset(on_bias, 0, some * sizeof *on_bias);
    memset(on_gain, 0, some * sizeof *on_gain);
    memset(on_shift, 0, some * sizeof *on_shift);
    for (long m = 0; m < rows; m++) {
        const float *restrict row = reached + m * after;
        const value *restrict given = upstream + m * after;
        const int16_t *restrict drawn = draws + m * after;
#pragma omp simd
        for (long n = 0; n < some; n++) {
            const float handed = get(given[n]) * kept(drawn, n, first, scale);
            on_shift[n] += handed;
            on_gain[n] += handed * ((row[n] - means[n]) * scales[n]);
        }
    }
    for (long m = 0; m < rows; m++) {
        const float *restrict row = reached + m * after;
        const value *restrict given = upstream + m * after;
        const int16_t *restrict drawn = draws + m * after;
        value *restrict to = slopes + m * after;
#pragma omp simd
        for (long n = 0; n < some; n++) {
            const float handed = get(given[n]) * kept(drawn, n, first, scale);
            const float normed = (row[n] - means[n]) * scales[n];
            float slope = scales[n] * gain[n] * (handed - (on_shift[n] + normed * on_gain[n]) * part);
            slope = row[n] <= 0.0f ? 0.0f : slope;
            on_bias[n] += slope;
            to[n] = put(slope);
        }
    }
}

/* `gradients`, [3, after], are by bias, gain and shift. */
int layer_back(
    const value *restrict upstream, const value *restrict x, const float *restrict weight, const float *restrict gain,
    const int16_t *restrict draws, long first, float scale, const float *restrict reached,
    const float *restrict statistics, value *restrict down, float *restrict on_weight, float *restrict gradients,
    long rows, long before, long after
) {
    float *const on_bias = gradients, *const on_gain = gradients + after, *const on_shift = on_gain + after;
    value *const slopes = (value *)lines_of(rows * after);
    if (!slopes) return 1;
    if (!draws) draws = (const int16_t *)upstream, first = INT16_MIN, scale = 1.0f;
#pragma omp parallel for schedule(dynamic) if (after > BROAD)
    for (long n = 0; n < after; n += BROAD)
        normalise_back(
            upstream + n, gain + n, draws + n, first, scale, reached + n, statistics + n, statistics + after + n,
            slopes + n, on_bias + n, on_gain + n, on_shift + n, after - n < BROAD ? after - n : BROAD, rows, after
        );
    const int failed = products_back(slopes, x, weight, down, on_weight, rows, before, after);
    free(slopes);
    return failed;
}

/* ---- convolutions 3 x 3 of maps, [batch, 2 rows + 2, 2 columns + 2, before] to [batch, 2 rows, 2 columns, after], a
   tile of 2 x 2 pixels at a time: made of 4 x 4 by 16 products for each two channels, where there are 36 as written
   (Winograd; F(2 x 2, 3 x 3) of Lavin & Gray 2016). With their B, G and A, what comes of d by w is
   A^T [(G w G^T) (B^T d B)] A, and its gradients are the same turned around. Channels are in whole lanes, weights
   [after, 3, 3, before]. */

enum { SIDE = 4, PLACES = SIDE * SIDE, TILES = 96 }; /* tiles at once: what is made of them stays in the caches */

/* Of a line of SIDE numbers, `step` apart, what each of the three and its transpose make, in place. */
INLINE void times_b_turned(lanes *x, const long step) {
    const lanes a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    x[0] = a - c, x[step] = b + c, x[2 * step] = c - b, x[3 * step] = b - d;
}

INLINE void times_b(lanes *x, const long step) {
    const lanes a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    x[step] = b - c + d, x[2 * step] = b + c - a, x[3 * step] = -d;
}

INLINE void times_g(lanes *x, const long step) {
    const lanes a = x[0], b = x[step], c = x[2 * step];
    x[step] = (a + c + b) * 0.5f, x[2 * step] = (a + c - b) * 0.5f, x[3 * step] = c;
}

INLINE void times_g_turned(lanes *x, const long step) {
    const lanes half = (x[step] + x[2 * step]) * 0.5f;
    x[0] += half, x[step] = (x[step] - x[2 * step]) * 0.5f, x[2 * step] = half + x[3 * step];
}

INLINE void times_a(lanes *x, const long step) {
    const lanes a = x[0], b = x[step];
    x[step] = a + b, x[2 * step] = a - b, x[3 * step] = -b;
}

INLINE void times_a_turned(lanes *x, const long step) {
    const lanes b = x[step], c = x[2 * step];
    x[0] += b + c, x[step] = b - c - x[3 * step];
}

/* Of a square of SIDE lines the first `lines`, then the first `columns` of what has become of them. */
#define BOTH_WAYS(times, square, lines, columns)                                                                       \
    do {                                                                                                               \
        for (long line = 0; line < (lines); line++) times((square) + SIDE * line, 1);                                  \
        for (long column = 0; column < (columns); column++) times((square) + column, SIDE);                            \
    } while (0)

/* Values from one place to the next, of `count` each. The places of a tile are written one after the other, and would
   share a few lines of a cache if they lay whole pages apart. */
static inline long places_apart(long count) { return count + 2 * LANES; }

/* The first pixel of a tile, in maps that have `border` more rows and columns than tiles fill. */
static inline long corner(long tile, long rows, long columns, long border) {
    const long line = tile / columns;
    return (line / rows * (2 * rows + border) + line % rows * 2) * (2 * columns + border) + tile % columns * 2;
}

static void spread_weights(const float *restrict weight, float *restrict to, long before, long after) {
    for (long n = 0; n < after; n++, weight += 9 * before)
        for (long c = 0; c < before; c += LANES) {
            lanes square[PLACES];
            for (long i = 0; i < 3; i++)
                for (long j = 0; j < 3; j++)
                    square[SIDE * i + j] = *(const lanes *)(weight + (3 * i + j) * before + c);
            BOTH_WAYS(times_g, square, 3, SIDE);
            for (long p = 0; p < PLACES; p++) *(lanes *)(to + (p * after + n) * before + c) = square[p];
        }
}

static void spread_tile(const value *restrict x, value *restrict to, long across, long channels, long apart) {
    for (long c = 0; c < channels; c += LANES) {
        lanes square[PLACES];
        for (long i = 0; i < SIDE; i++)
            for (long j = 0; j < SIDE; j++) square[SIDE * i + j] = get_lanes(x + (i * across + j) * channels + c);
        BOTH_WAYS(times_b_turned, square, SIDE, SIDE);
        for (long p = 0; p < PLACES; p++) put_lanes(square[p], to + p * apart + c);
    }
}

/* Adds to `on_bias`: of the sums that are multiplied one is that of all pixels. */
static void spread_slopes(
    const value *restrict slopes, value *restrict to, float *restrict on_bias, long across, long channels, long apart
) {
    for (long c = 0; c < channels; c += LANES) {
        lanes square[PLACES];
        for (long i = 0; i < 2; i++)
            for (long j = 0; j < 2; j++) square[SIDE * i + j] = get_lanes(slopes + (i * across + j) * channels + c);
        BOTH_WAYS(times_a, square, 2, SIDE);
        for (long p = 0; p < PLACES; p++) put_lanes(square[p], to + p * apart + c);
        *(lanes *)(on_bias + c) += square[SIDE + 1];
    }
}

/* y = x by weight, + bias, if there is one. Not 0 where there is no memory, as below. */
static int convolve_maps(
    const value *restrict x, const float *restrict weight, const float *restrict bias, value *restrict y, long batch,
    long rows, long columns, long before, long after
) {
    const long seen_apart = places_apart(TILES * before), made_apart = places_apart(TILES * after);
    const long inner = before / EACH, tiles = batch * rows * columns, across = 2 * columns;
    float *const made = lines_of(PLACES * (made_apart + 2 * before * after + seen_apart));
    if (!made) return 1;
    float *const spread = made + PLACES * made_apart;
    word *const turned = (word *)(spread + PLACES * before * after);
    value *const seen = (value *)(turned + PLACES * before * after);
    spread_weights(weight, spread, before, after);
    for (long p = 0; p < PLACES; p++)
        turn_weights(spread + p * before * after, after, before, turned + p * inner * after, after, PANEL);
    for (long first = 0, some; first < tiles; first += some) {
        some = tiles - first < TILES ? tiles - first : TILES;
        for (long i = 0; i < some; i++)
            spread_tile(
                x + corner(first + i, rows, columns, 2) * before, seen + i * before, across + 2, before, seen_apart
            );
        for (long p = 0; p < PLACES; p++)
            multiply_rows(
                (const word *)(seen + p * seen_apart), turned + p * inner * after, made + p * made_apart, after, some,
                inner, after
            );
        for (long i = 0; i < some; i++) {
            value *restrict to = y + corner(first + i, rows, columns, 0) * after;
            for (long c = 0; c < after; c += LANES) {
                lanes square[PLACES];
                for (long p = 0; p < PLACES; p++)
                    square[p] = *(const lanes *)(made + p * made_apart + i * after + c);
                BOTH_WAYS(times_a_turned, square, SIDE, 2);
                const lanes more = bias ? *(const lanes *)(bias + c) : (lanes){0};
                for (long line = 0; line < 2; line++)
                    for (long j = 0; j < 2; j++)
                        put_lanes(square[SIDE * line + j] + more, to + (line * across + j) * after + c);
            }
        }
    }
    free(made);
    return 0;
}

int convolve(
    const value *x, const float *weight, const float *bias, value *y, long batch, long rows, long columns, long before,
    long after
) {
    const long of_x = (2 * rows + 2) * (2 * columns + 2) * before, of_y = 4 * rows * columns * after;
    int failed = 0;
#pragma omp parallel for reduction(| : failed)
    for (long part = 0; part < PARTS; part++) {
        const long from = batch * part / PARTS, to = batch * (part + 1) / PARTS;
        failed |= convolve_maps(
            x + from * of_x, weight, bias, y + from * of_y, to - from, rows, columns, before, after
        );
    }
    return failed;
}

/* Of a line of tiles what reaches 4 rows of pixels: two, `upper`, that the line above has reached, if there is one, and
   two that it has not. */
static void add_tiles(
    const float *restrict found, float *restrict upper, float *restrict lower, int reached, long columns, long channels,
    long apart
) {
    const long across = (2 * columns + 2) * channels;
    if (!reached) memset(upper, 0, 2 * across * sizeof *upper);
    memset(lower, 0, 2 * across * sizeof *lower);
    for (long tile = 0; tile < columns; tile++, found += channels, upper += 2 * channels, lower += 2 * channels)
        for (long c = 0; c < channels; c += LANES) {
            lanes square[PLACES];
            for (long p = 0; p < PLACES; p++) square[p] = *(const lanes *)(found + p * apart + c);
            BOTH_WAYS(times_b, square, SIDE, SIDE);
            for (long i = 0; i < 2; i++)
                for (long j = 0; j < SIDE; j++) {
                    *(lanes *)(upper + i * across + j * channels + c) += square[SIDE * i + j];
                    *(lanes *)(lower + i * across + j * channels + c) += square[SIDE * (i + 2) + j];
                }
        }
}

static int convolve_maps_back(
    const value *restrict upstream, const value *restrict x, const float *restrict weight, value *restrict down,
    float *restrict on_weight, float *restrict on_bias, long batch, long rows, long columns, long before, long after
) {
    const long at_once = columns < TILES ? TILES / columns : 1, most = at_once * columns, across = 2 * columns + 2;
    const long seen_apart = places_apart(most * before), given_apart = places_apart(most * after);
    const long units = after / EACH, tall = round_up(after, BESIDE);
    const long deep = (most + EACH - 1) / EACH, of_weights = PLACES * before * after;
    float *const sums = lines_of(
        2 * of_weights + PLACES * (2 * seen_apart + given_apart) + deep * (before + tall) + (SIDE * across + 1) * before
    );
    if (!sums) return 1;
    float *const found = sums + of_weights, *const strip = found + PLACES * seen_apart;
    word *const weights = (word *)(strip + SIDE * across * before);
    word *const stacked = weights + of_weights / EACH, *const above = stacked + deep * before;
    value *const room = (value *)(above + deep * tall);
    value *const seen = room + EACH * before, *const given = seen + PLACES * seen_apart;
    spread_weights(weight, sums, before, after);
    for (long p = 0; p < PLACES; p++)
        stack_weights(sums + p * before * after, after, before, before, room, weights + p * units * before, before);
    memset(on_bias, 0, after * sizeof *on_bias);
    for (long line = 0, lines; line < batch * rows; line += lines) {
        lines = batch * rows - line < at_once ? batch * rows - line : at_once;
        const long first = line * columns, some = lines * columns;
        for (long i = 0; i < some; i++) {
            const value *const from = x + corner(first + i, rows, columns, 2) * before;
            const value *const slopes = upstream + corner(first + i, rows, columns, 0) * after;
            spread_tile(from, seen + i * before, across, before, seen_apart);
            spread_slopes(slopes, given + i * after, on_bias, across - 2, after, given_apart);
        }
        for (long p = 0; p < PLACES; p++) {
            const value *const slopes = given + p * given_apart;
            stack_rows(seen + p * seen_apart, some, before, before, stacked, before, PANEL);
            turn_columns(slopes, some, after, above);
            const long words = (some + EACH - 1) / EACH;
            multiply_columns(
                above, words, stacked, sums + p * before * after, before, after, words, before, line > 0
            );
            multiply_rows(
                (const word *)slopes, weights + p * units * before, found + p * seen_apart, before, some, units, before
            );
        }
        for (long i = 0; i < lines; i++) {
            const long row = (line + i) % rows, half = 2 * across * before;
            value *const to = down + ((line + i) / rows * (rows + 1) + row) * half;
            float *const upper = strip + row % 2 * half, *const lower = strip + (row + 1) % 2 * half;
            add_tiles(found + i * columns * before, upper, lower, row > 0, columns, before, seen_apart);
            put_row(upper, NULL, to, half);
            if (row + 1 == rows) put_row(lower, NULL, to + half, half);
        }
    }
    for (long n = 0; n < after; n++)
        for (long c = 0; c < before; c += LANES) {
            lanes square[PLACES];
            for (long p = 0; p < PLACES; p++)
                square[p] = *(const lanes *)(sums + (p * after + n) * before + c);
            BOTH_WAYS(times_g_turned, square, SIDE, 3);
            for (long i = 0; i < 3; i++)
                for (long j = 0; j < 3; j++)
                    *(lanes *)(on_weight + ((n * 3 + i) * 3 + j) * before + c) = square[SIDE * i + j];
        }
    free(sums);
    return 0;
}

int convolve_back(
    const value *upstream, const value *x, const float *weight, value *down, float *on_weight, float *on_bias,
    long batch, long rows, long columns, long before, long after
) {
    const long of_x = (2 * rows + 2) * (2 * columns + 2) * before, of_y = 4 * rows * columns * after;
    const long weights = 9 * before * after, each = weights + after;
    const long parts = batch < PARTS ? batch : PARTS;
    float *const found = lines_of(parts * each);
    if (!found) return 1;
    int failed = 0;
#pragma omp parallel for reduction(| : failed)
    for (long part = 0; part < parts; part++) {
        const long from = batch * part / parts, to = batch * (part + 1) / parts;
        failed |= convolve_maps_back(
            upstream + from * of_y, x + from * of_x, weight, down + from * of_x, found + part * each,
            found + part * each + weights, to - from, rows, columns, before, after
        );
    }
    for (long part = 1; part < parts; part++)
        for (long i = 0; i < each; i++) found[i] += found[part * each + i];
    memcpy(on_weight, found, weights * sizeof *found);
    memcpy(on_bias, found + weights, after * sizeof *found);
    free(found);
    return failed;
}

/* ---- maps, [batch, rows, columns, channels, group]: of each group of channels the largest, batch norm, the largest of
   each window of pool x pool pixels, ReLU and dropout, in training. What comes of it, [batch, rows / pool, columns /
   pool, channels], has `lines` of `across` windows. `statistics`, [2, channels]: the mean, and what is scaled by. */

enum { SOME_PIXELS = 32 }; /* are in the caches while their squares are summed */

/* `function` as compiled for the groups and windows that the paper's CNN has, or for any. */
#define BY_SIZES(function, ...)                                                                                        \
    (group == 1 && pool == 1 ? function(__VA_ARGS__, 1, 1)                                                             \
     : group == 1 && pool == 2 ? function(__VA_ARGS__, 1, 2)                                                           \
     : group == 4 && pool == 2 ? function(__VA_ARGS__, 4, 2)                                                           \
                               : function(__VA_ARGS__, group, pool))

INLINE float largest(const value *x, const long group) {
    float most = get(x[0]);
    for (long g = 1; g < group; g++) {
        const float here = get(x[g]);
        most = here <= most ? most : here;
    }
    return most;
}

/* Makes `means` and `squares` of `done` pixels, sums about the means, those of `some` more, too (Chan, Golub & LeVeque
   1979). */
static void join_maps(
    float *restrict means, float *restrict squares, long done, const float *restrict mean,
    const float *restrict square, long some, long channels
) {
    const float share = (float)some / (done + some), weight = share * done;
#pragma omp simd
    for (long c = 0; c < channels; c++) {
        const float apart = mean[c] - means[c];
        means[c] += share * apart;
        squares[c] += square[c] + weight * apart * apart;
    }
}

/* Both of `lines` of windows, `sums`; after these SOME_PIXELS + 2 rows of room. */
INLINE void sum_maps(
    const value *restrict x, float *restrict sums, long lines, long across, long channels, const long group,
    const long pool
) {
    float *restrict mean = sums + 2 * channels, *restrict square = mean + channels, *restrict rows = square + channels;
    const long pixels = lines * pool * across * pool;
    memset(sums, 0, 2 * channels * sizeof *sums);
    for (long done = 0, some; done < pixels; done += some) {
        some = pixels - done < SOME_PIXELS ? pixels - done : SOME_PIXELS;
        memset(mean, 0, 2 * channels * sizeof *mean);
        for (long i = 0; i < some; i++, x += channels * group) {
            float *restrict row = rows + i * channels;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                row[c] = largest(x + c * group, group);
                mean[c] += row[c];
            }
        }
#pragma omp simd
        for (long c = 0; c < channels; c++) mean[c] /= some;
        for (long i = 0; i < some; i++) {
            const float *restrict row = rows + i * channels;
#pragma omp simd
            for (long c = 0; c < channels; c++) square[c] += (row[c] - mean[c]) * (row[c] - mean[c]);
        }
        join_maps(sums, sums + channels, done, mean, square, some, channels);
    }
}

/* Of one window of one channel the largest, the same before gain and shift, and the pixel that has it, of equal ones
   the first. */
typedef struct {
    float best, normal;
    int32_t place;
} Found;

INLINE Found look(
    const value *x, float mean, float scale, float gain, float shift, long columns, long channels, const long group,
    const long pool
) {
    Found found = {-INFINITY, 0.0f, 0};
    int32_t k = 0;
    for (long down = 0; down < pool; down++)
        for (long right = 0; right < pool; right++, k++) {
            const float most = largest(x + (down * columns + right) * channels * group, group);
            const float normed = (most - mean) * scale, here = normed * gain + shift;
            const int better = !(here <= found.best); /* so NaN passes, here and below */
            found.best = better ? here : found.best;
            found.normal = better ? normed : found.normal;
            found.place = better ? k : found.place;
        }
    return found;
}

INLINE void finish_maps(
    const value *restrict x, const float *restrict gain, const float *restrict shift, const int16_t *restrict draws,
    long first, float scale, value *restrict y, const float *restrict statistics, long lines, long across,
    long channels, const long group, const long pool
) {
    const float *restrict means = statistics, *restrict scales = statistics + channels;
    const long columns = across * pool;
    for (long line = 0; line < lines; line++)
        for (long column = 0; column < across; column++, y += channels, draws += channels) {
            const value *const from = x + (line * columns + column) * pool * channels * group;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                const Found found = look(
                    from + c * group, means[c], scales[c], gain[c], shift[c], columns, channels, group, pool
                );
                y[c] = put((found.best < 0.0f ? 0.0f : found.best) * kept(draws, c, first, scale));
            }
        }
}

int finish(
    const value *x, const float *gain, const float *shift, float eps, float momentum, float *running_mean,
    float *running_var, int64_t *batches, const int16_t *draws, long first, float scale, value *y, float *statistics,
    long lines, long across, long channels, long group, long pool
) {
    const long of_x = pool * across * pool * channels * group, of_y = across * channels;
    const long of_part = (SOME_PIXELS + 4) * channels;
    float *const means = statistics, *const squares = statistics + channels;
    float *const sums = lines_of(PARTS * of_part);
    if (!sums) return 1;
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++) {
        const long from = lines * part / PARTS, some = lines * (part + 1) / PARTS - from;
        BY_SIZES(sum_maps, x + from * of_x, sums + part * of_part, some, across, channels);
    }
    memset(statistics, 0, 2 * channels * sizeof *statistics);
    for (long part = 0, done = 0, some; part < PARTS; part++, done += some) {
        const float *const found = sums + part * of_part;
        some = (lines * (part + 1) / PARTS - lines * part / PARTS) * pool * across * pool;
        if (some) join_maps(means, squares, done, found, found + channels, some, channels);
    }
    free(sums);
    keep_statistics(means, squares, eps, momentum, running_mean, running_var, lines * pool * across * pool, channels);
    ++*batches;
    if (!draws) draws = (const int16_t *)x, first = INT16_MIN, scale = 1.0f; /* from there on any is kept */
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++) {
        const long from = lines * part / PARTS, some = lines * (part + 1) / PARTS - from;
        BY_SIZES(
            finish_maps, x + from * of_x, gain, shift, draws + from * of_y, first, scale, y + from * of_y, statistics,
            some, across, channels
        );
    }
    return 0;
}

/* The same in evaluation: statistics are known, nothing is dropped. */
int finish_known(
    const value *x, const float *gain, const float *shift, const float *statistics, value *y, long lines, long across,
    long channels, long group, long pool
) {
    const long of_x = pool * across * pool * channels * group, of_y = across * channels;
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++) {
        const long from = lines * part / PARTS, some = lines * (part + 1) / PARTS - from;
        BY_SIZES(
            finish_maps, x + from * of_x, gain, shift, (const int16_t *)x, INT16_MIN, 1.0f, y + from * of_y, statistics,
            some, across, channels
        );
    }
    return 0;
}

/* To the first that is the largest of its group; the others get nothing. */
static void give_largest(
    const float *restrict from, const value *restrict x, value *restrict to, long channels, long group
) {
    memset(to, 0, channels * group * sizeof *to);
    for (long c = 0; c < channels; c++, x += group, to += group) {
        long first = 0;
        for (long g = 1; g < group; g++) first = get(x[g]) > get(x[first]) ? g : first;
        to[first] = put(from[c]);
    }
}

/* Gradients by gain and shift of some lines, `sums`; after these two rows of room. */
INLINE void sum_maps_back(
    const value *restrict upstream, const value *restrict x, const value *restrict y, const float *restrict gain,
    const float *restrict shift, float scale, const float *restrict statistics, float *restrict sums, long lines,
    long across, long channels, const long group, const long pool
) {
    const float *restrict means = statistics, *restrict scales = statistics + channels;
    const long columns = across * pool;
    float *restrict gains = sums + 2 * channels, *restrict shifts = gains + channels;
    memset(sums, 0, 2 * channels * sizeof *sums);
    for (long line = 0; line < lines; line++) {
        memset(gains, 0, 2 * channels * sizeof *gains); /* sums of sums lose fewer digits */
        for (long column = 0; column < across; column++, upstream += channels, y += channels) {
            const value *const from = x + (line * columns + column) * pool * channels * group;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                const Found found = look(
                    from + c * group, means[c], scales[c], gain[c], shift[c], columns, channels, group, pool
                );
                const float slope = get(y[c]) > 0.0f ? scale * get(upstream[c]) : 0.0f;
                gains[c] += slope * found.normal;
                shifts[c] += slope;
            }
        }
#pragma omp simd
        for (long c = 0; c < 2 * channels; c++) sums[c] += gains[c];
    }
}

/* Those by x. `gradients` are of all lines, `part`: a pixel's part of the mean; `window`: pool x pool rows of room. */
INLINE void finish_maps_back(
    const value *restrict upstream, const value *restrict x, const value *restrict y, const float *restrict gain,
    const float *restrict shift, float scale, const float *restrict statistics, const float *restrict gradients,
    float part, value *restrict below, float *restrict window, long lines, long across, long channels,
    const long group, const long pool
) {
    const float *restrict means = statistics, *restrict scales = statistics + channels;
    const float *restrict on_gain = gradients, *restrict on_shift = gradients + channels;
    const long columns = across * pool;
    for (long line = 0; line < lines; line++)
        for (long column = 0; column < across; column++, upstream += channels, y += channels) {
            const long begin = (line * columns + column) * pool * channels * group;
#pragma omp simd
            for (long c = 0; c < channels; c++) {
                const float mean = means[c], factor = scales[c];
                const Found found = look(
                    x + begin + c * group, mean, factor, gain[c], shift[c], columns, channels, group, pool
                );
                const float slope = get(y[c]) > 0.0f ? scale * get(upstream[c]) : 0.0f;
                int32_t k = 0;
                for (long down = 0; down < pool; down++)
                    for (long right = 0; right < pool; right++, k++) {
                        const long pixel = begin + (down * columns + right) * channels * group + c * group;
                        const float normed = (largest(x + pixel, group) - mean) * factor;
                        const float above = found.place == k ? slope : 0.0f;
                        const float here = gain[c] * factor * (above - (on_shift[c] + normed * on_gain[c]) * part);
                        if (group == 1) below[pixel] = put(here);
                        else window[k * channels + c] = here;
                    }
            }
            for (long k = 0; k < pool * pool && group > 1; k++) {
                const long pixel = begin + (k / pool * columns + k % pool) * channels * group;
                give_largest(window + k * channels, x + pixel, below + pixel, channels, group);
            }
        }
}

/* What has passed ReLU and dropout is what is above 0 in `y`. `gradients`, [2, channels], are by gain and shift. */
int finish_back(
    const value *upstream, const value *x, const value *y, const float *gain, const float *shift, float scale,
    const float *statistics, value *below, float *gradients, long lines, long across, long channels, long group,
    long pool
) {
    const long of_x = pool * across * pool * channels * group, of_y = across * channels;
    const long of_part = (4 + pool * pool) * channels;
    float *const sums = lines_of(PARTS * of_part);
    if (!sums) return 1;
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++) {
        const long from = lines * part / PARTS, some = lines * (part + 1) / PARTS - from;
        BY_SIZES(
            sum_maps_back, upstream + from * of_y, x + from * of_x, y + from * of_y, gain, shift, scale, statistics,
            sums + part * of_part, some, across, channels
        );
    }
    memcpy(gradients, sums, 2 * channels * sizeof *gradients);
    for (long part = 1; part < PARTS; part++)
        for (long c = 0; c < 2 * channels; c++) gradients[c] += sums[part * of_part + c];
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++) {
        const long from = lines * part / PARTS, some = lines * (part + 1) / PARTS - from;
        BY_SIZES(
            finish_maps_back, upstream + from * of_y, x + from * of_x, y + from * of_y, gain, shift, scale, statistics,
            gradients, 1.0f / (lines * pool * across * pool), below + from * of_x, sums + part * of_part, some, across,
            channels
        );
    }
    free(sums);
    return 0;
}

/* ---- losses over a vocabulary, and in place of the logits their gradients by them */

/* exp(factor (x - most)) in `powers`, and their sum. */
static float powers_of(
    const value *restrict x, float factor, long words, float *restrict powers, float *restrict most_of
) {
    float most = -INFINITY, total = 0.0f;
#pragma omp simd reduction(max : most)
    for (long j = 0; j < words; j++) {
        float here = get(x[j]);
        most = here > most ? here : most;
    }
#pragma omp simd reduction(+ : total)
    for (long j = 0; j < words; j++) {
        powers[j] = power_of((get(x[j]) - most) * factor);
        total += powers[j];
    }
    *most_of = most;
    return total;
}

/* `factor` times KL(teacher || student) of the softened answers, in nats; `colder` is 1 / temperature. The slopes may
   take the place of the student's logits. */
int kl_from_teacher(
    const value *student, const value *restrict teacher, float colder, float factor, value *slopes,
    float *restrict losses, long rows, long words
) {
    float *const q = malloc(2 * words * sizeof(float)), *const p = q + words;
    if (!q) return 1;
    for (long r = 0; r < rows; r++, student += words, teacher += words, slopes += words) {
        float z0, t0, along = 0.0f;
        const float q_total = powers_of(student, colder, words, q, &z0);
        const float p_total = powers_of(teacher, colder, words, p, &t0);
        const float part = factor * colder / q_total;
        const float ratio = q_total / p_total; /* 1 if both say the same: then exactly nothing is left */
#pragma omp simd reduction(+ : along)
        for (long j = 0; j < words; j++) {
            along += p[j] * ((get(teacher[j]) - t0) - (get(student[j]) - z0));
            slopes[j] = put(part * (q[j] - ratio * p[j]));
        }
        losses[r] = factor * (along * colder / p_total + logf(q_total) - logf(p_total));
    }
    free(q);
    return 0;
}

/* -log p(right), in nats. */
int cross_entropy(
    value *restrict logits, const int64_t *restrict right, float *restrict losses, long rows, long words
) {
    float *const q = malloc(words * sizeof(float));
    if (!q) return 1;
    for (long r = 0; r < rows; r++, logits += words) {
        float most;
        const float total = powers_of(logits, 1.0f, words, q, &most), part = 1.0f / total;
        losses[r] = logf(total) - (get(logits[right[r]]) - most);
        q[right[r]] -= total;
#pragma omp simd
        for (long j = 0; j < words; j++) logits[j] = put(q[j] * part);
    }
    free(q);
    return 0;
}

/* PIECE values are squared before their sum is added in double precision; a tensor of more than MANY threads share */
enum { PIECE = 1024, MANY = 1 << 16 };

/* ---- what is between the backward pass and a step, of one tensor. To `slopes` the gradient of l1 sum |w| + l2 sum w^2
   is added; if their norm is more than `limit` then, they are scaled down to it. */
int shape_gradient(
    const float *restrict weights, float *restrict slopes, long count, float l1, float l2, float limit
) {
    double squares = 0.0;
    for (long start = 0; start < count; start += PIECE) {
        const long end = count - start < PIECE ? count : start + PIECE;
        float here = 0.0f;
        if (l1 != 0.0f || l2 != 0.0f)
#pragma omp simd
            for (long i = start; i < end; i++) {
                const float w = weights[i], sign = w > 0.0f ? 1.0f : w < 0.0f ? -1.0f : w; /* NaN stays */
                slopes[i] += 2.0f * l2 * w + l1 * sign;
            }
#pragma omp simd reduction(+ : here)
        for (long i = start; i < end; i++) here += slopes[i] * slopes[i];
        squares += here;
    }
    const float norm = sqrt(squares);
    if (norm <= limit) return 0;
    const float scale = limit / norm;
#pragma omp simd
    for (long i = 0; i < count; i++) slopes[i] *= scale;
    return 0;
}

static void adapt_some(
    float *restrict weights, const float *restrict slopes, float *restrict means, float *restrict squares, long count,
    float adaptive, float plain, float first_rest, float second_rest, float eps
) {
#pragma omp simd
    for (long i = 0; i < count; i++) {
        const float mean = means[i] + (slopes[i] - means[i]) * first_rest;
        const float square = squares[i] + (slopes[i] * slopes[i] - squares[i]) * second_rest;
        means[i] = mean;
        squares[i] = square;
        weights[i] -= mean * (adaptive / (sqrtf(square) + eps) + plain);
    }
}

/* A step of one tensor. `means` and `squares` are of its slopes, of which each step takes in the rests that betas leave of
   1. Adam's (Kingma & Ba 2015, algorithm 1) by the rate in `numbers`, of which `done` has the step's number; without it
   RAdam's, by the (adaptive, plain) in `numbers`. */
int adapt(
    float *weights, const float *slopes, float *means, float *squares, long count, const double *numbers,
    const float *done, float first_rest, float second_rest, float eps
) {
    const double first = done ? 1.0 - pow(1.0 - first_rest, *done) : 1.0;
    const double second = done ? sqrt(1.0 - pow(1.0 - second_rest, *done)) : 1.0;
    const float adaptive = numbers[0] * second / first, plain = done ? 0.0 : numbers[1], least = eps * second;
    const long part = count > MANY ? round_up((count + PARTS - 1) / PARTS, LANES) : count;
#pragma omp parallel for if (part < count)
    for (long i = 0; i < count; i += part)
        adapt_some(
            weights + i, slopes + i, means + i, squares + i, count - i < part ? count - i : part, adaptive, plain,
            first_rest, second_rest, least
        );
    return 0;
}
