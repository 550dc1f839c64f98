/* Products of a few rows with weights that come from memory: the weights of the next lines are asked for while these are multiplied.
 *
 * Weights [out, in] are kept in blocks of OUTPUTS outputs, in each of them one after another what is multiplied at once: of every
 * vector of outputs the weights of one input, in bf16 of two (few_rows.py packs them). A block is read from end to end.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <immintrin.h>
#if defined(__AVX512F__)
#define LANES 16
#define VECTORS 3
#define ROWS 8
#else
#define LANES 8
#define VECTORS 1
#define ROWS 8
#endif
/* VECTORS of LANES outputs times ROWS rows: as many sums as there are registers for. */
#define OUTPUTS (VECTORS * LANES)
#define AHEAD 8192 /* bytes */
#define LINE 64 /* bytes of a line of the caches */
#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef float some_floats __attribute__((vector_size(4 * LANES), aligned(2)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint32_t some_bits __attribute__((vector_size(4 * LANES), aligned(2)));

/* How weights and x are kept: both bf16 (two products at once), weights bf16 and x fp32, or both fp32. Sums are fp32's. */
enum form { PAIRS, HALVES, WHOLE };

INLINE int weight_bytes(int form) { return form == WHOLE ? 4 : 2; }
INLINE int x_bytes(int form) { return form == PAIRS ? 2 : 4; }

/* a · b + c, rounded once. Said, as gcc takes such an instruction here and not there, and a row's sums would depend on its neighbours. */
INLINE floats fused(floats a, floats b, floats c) {
#if LANES == 16
  return (floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

INLINE floats lower(bits both) { return (floats)(both << 16); }
INLINE floats upper(bits both) { return (floats)(both & 0xffff0000u); }

INLINE float widened(uint16_t half) {
  uint32_t whole = (uint32_t)half << 16;
  float value;
  memcpy(&value, &whole, 4);
  return value;
}

INLINE uint16_t rounded(float value) { /* to bf16, to the nearest even */
  uint32_t whole;
  memcpy(&whole, &value, 4);
  if ((whole & 0x7fffffffu) > 0x7f800000u) return 0x7fc0; /* NaN */
  return (uint16_t)((whole + 0x7fffu + ((whole >> 16) & 1)) >> 16);
}

/* x [count] as a product of this form wants it. */
INLINE void narrowed(int form, const float *x, long count, char *to) {
  if (form != PAIRS)
    memcpy(to, x, count * 4);
  else
    for (long i = 0; i < count; i++) ((uint16_t *)to)[i] = rounded(x[i]);
}

/* What becomes of a product [rows, out]: `bias` is added, and it is kept in `to`, or added to what is there. */
struct result {
  float *to;
  const float *bias;
  long stride, outputs; /* from one row to the next; how many there are, as the last block may have fewer */
  int adds;
};

INLINE void kept(const struct result *result, long m, long at, floats sum) {
  float *to = result->to + m * result->stride + at;
  if (at + LANES <= result->outputs) {
    if (result->bias) sum += *(const some_floats *)(result->bias + at);
    *(some_floats *)to = result->adds ? *(some_floats *)to + sum : sum;
    return;
  }
  for (long i = 0; at + i < result->outputs; i++) {
    float value = sum[i] + (result->bias ? result->bias[at + i] : 0);
    to[i] = result->adds ? to[i] + value : value;
  }
}

/* One block's outputs, the first of which is number `at`, of M rows of x [.., n]. */
INLINE void block(int form, int M, const char *w, long n, const char *x, long at, const struct result *result) {
  floats sum[VECTORS * ROWS];
  for (int i = 0; i < VECTORS * M; i++) sum[i] = (floats){};
  const int step = form == WHOLE ? 1 : 2;
  for (long i = 0; i < n; i += step, w += VECTORS * LANES * 4) {
    for (int line = 0; line < VECTORS * LANES * 4; line += LINE) __builtin_prefetch(w + AHEAD + line, 0, 2);
    floats some[VECTORS];
    for (int half = 0; half < (form == HALVES ? 2 : 1); half++) {
      for (int r = 0; r < VECTORS; r++) {
        const char *from = w + r * LANES * 4;
        if (form == HALVES)
          some[r] = half ? upper(*(const some_bits *)from) : lower(*(const some_bits *)from);
        else
          some[r] = *(const some_floats *)from;
      }
      for (int m = 0; m < M; m++) {
        float own;
        memcpy(&own, x + (m * n + i + half) * x_bytes(form), 4); /* of PAIRS it is two of them */
        for (int r = 0; r < VECTORS; r++) {
#ifdef __AVX512BF16__
          if (form == PAIRS) {
            __m512bh pair = (__m512bh)_mm512_set1_ps(own);
            sum[m * VECTORS + r] = (floats)_mm512_dpbf16_ps((__m512)sum[m * VECTORS + r], (__m512bh)some[r], pair);
          } else
#endif
            sum[m * VECTORS + r] = fused(some[r], (floats){} + own, sum[m * VECTORS + r]);
        }
      }
    }
  }
  for (int m = 0; m < M; m++)
    for (int r = 0; r < VECTORS; r++) kept(result, m, at + r * LANES, sum[m * VECTORS + r]);
}

INLINE void some_rows(int form, long count, const char *w, long n, const char *x, long at, const struct result *result) {
  switch (count) {
    case 1: block(form, 1, w, n, x, at, result); break;
    case 2: block(form, 2, w, n, x, at, result); break;
    case 3: block(form, 3, w, n, x, at, result); break;
    case 4: block(form, 4, w, n, x, at, result); break;
    case 5: block(form, 5, w, n, x, at, result); break;
    case 6: block(form, 6, w, n, x, at, result); break;
    case 7: block(form, 7, w, n, x, at, result); break;
    default: block(form, ROWS, w, n, x, at, result);
  }
}

/* Outputs from `first` to `end` (whole blocks, but for the last one) of x [rows, n] with weights w. */
INLINE void products(int form, const char *w, long n, const char *x, long rows, long first, long end, struct result result) {
  if (rows == 0) return; /* as of a part of a prompt after which no logits are wanted */
  long turns = (rows + ROWS - 1) / ROWS, each = (rows + turns - 1) / turns;
  for (long at = first; at < end; at += OUTPUTS)
    for (long row = 0; row < rows; row += each) {
      struct result here = result;
      here.to += row * result.stride;
      long count = row + each < rows ? each : rows - row;
      some_rows(form, count, w + at * n * weight_bytes(form), n, x + row * n * x_bytes(form), at, &here);
    }
}

static void product(long form, const char *w, long n, const char *x, long rows, long first, long end, struct result result) {
  if (form == PAIRS)
    products(PAIRS, w, n, x, rows, first, end, result);
  else if (form == HALVES)
    products(HALVES, w, n, x, rows, first, end, result);
  else
    products(WHOLE, w, n, x, rows, first, end, result);
}

/* Where this thread's share of `count` begins, in pieces of `unit`. */
INLINE long share(long count, long unit, long thread, long threads) {
  long at = (count + unit - 1) / unit * thread / threads * unit;
  return at < count ? at : count;
}
