/* Attention of few new nodes of a tree: each row looks at the nodes that it descends from, and at no others. */

/* What one run brings: its new rows, and the keys and values of its tree. */
struct part {
  long rows, first, end; /* the new nodes are first .. end of it */
  long turns; /* 1: each row has a rotation of its own */
  long layer_bytes, head_bytes; /* from one layer's keys to the next one's, and one head's */
  char *keys, *values; /* [layers, kv heads, nodes, dim] */
  const char *mask; /* [rows, end]: 0 where a row sees a node, else −inf */
  const float *rotation; /* [rows or 1, dim / 2] complex */
};

#if LANES == 16
#define EVEN ((ints){0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30})
#define ODD ((ints){1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31})
#define FIRST ((ints){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23})
#define LAST ((ints){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#else
#define EVEN ((ints){0, 2, 4, 6, 8, 10, 12, 14})
#define ODD ((ints){1, 3, 5, 7, 9, 11, 13, 15})
#define FIRST ((ints){0, 8, 1, 9, 2, 10, 3, 11})
#define LAST ((ints){4, 12, 5, 13, 6, 14, 7, 15})
#endif

/* The sums of LANES vectors, each in its place. */
INLINE floats sums(floats *of) {
  for (int count = LANES / 2; count; count /= 2)
    for (int i = 0; i < count; i++)
      of[i] = __builtin_shuffle(of[2 * i], of[2 * i + 1], EVEN) + __builtin_shuffle(of[2 * i], of[2 * i + 1], ODD);
  return of[0];
}

/* exp to 2 in 10^7 (Cephes' polynomial), 0 below −87, that of 88 above it. */
INLINE floats exponential(floats x) {
  const floats zero = {};
  bits too_low = (bits)(x < -87.0f), too_high = (bits)(x > 88.0f);
  x = (floats)(((bits)x & ~too_low & ~too_high) | ((bits)(zero + 88.0f) & too_high));
  floats turns = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* to the nearest whole number */
  floats rest = (x - turns * 0.693359375f) + turns * 2.12194440e-4f;
  floats y = zero + 1.9875691500e-4f;
  y = y * rest + 1.3981999507e-3f;
  y = y * rest + 8.3334519073e-3f;
  y = y * rest + 4.1665795894e-2f;
  y = y * rest + 1.6666665459e-1f;
  y = y * rest + 5.0000001201e-1f;
  y = y * rest * rest + rest + 1.0f;
  ints power = (__builtin_convertvector(turns, ints) + 127) << 23;
  return (floats)((bits)(y * (floats)power) & ~too_low);
}

/* A query [dim] as `scored` wants it: in HALVES the even and the odd ones of 2 · LANES apart. */
INLINE void arranged(int form, const float *x, long dim, char *to) {
  if (form != HALVES) {
    narrowed(form, x, dim, to);
    return;
  }
  for (long i = 0; i < dim; i += 2 * LANES) {
    floats a = *(const some_floats *)(x + i), b = *(const some_floats *)(x + i + LANES);
    *(some_floats *)(to + 4 * i) = __builtin_shuffle(a, b, EVEN);
    *(some_floats *)(to + 4 * (i + LANES)) = __builtin_shuffle(a, b, ODD);
  }
}

/* Sums over the lanes of a key's products with a query, both [dim], the query arranged. */
INLINE floats multiplied(int form, const char *key, const char *query, long dim) {
  floats sum = {};
  for (long i = 0; i < dim; i += 2 * LANES) {
    const char *own = query + i * x_bytes(form), *from = key + i * weight_bytes(form);
#ifdef __AVX512BF16__
    if (form == PAIRS) {
      sum = (floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_loadu_si512(from), (__m512bh)_mm512_loadu_si512(own));
      continue;
    }
#endif
    floats first = form == WHOLE ? *(const some_floats *)from : lower(*(const some_bits *)from);
    floats last = form == WHOLE ? *(const some_floats *)(from + 4 * LANES) : upper(*(const some_bits *)from);
    sum = fused(first, *(const some_floats *)own, sum);
    sum = fused(last, *(const some_floats *)(own + 4 * LANES), sum);
  }
  return sum;
}

/* The nodes that a row sees; how many. */
static long seen(const struct part *part, long narrow, long row, int32_t *nodes) {
  long count = 0;
  for (long i = 0; i < part->end; i++) {
    long at = row * part->end + i;
    nodes[count] = (int32_t)i;
    count += narrow ? ((const uint16_t *)part->mask)[at] == 0 : ((const float *)part->mask)[at] == 0;
  }
  return count;
}

/* scores of `count` nodes: the products of their keys with one query, arranged. Whole vectors are written. */
INLINE void scored(int form, const char *keys, const int32_t *nodes, long count, long dim, const char *query, float *scores) {
  for (long first = 0; first < count; first += LANES) {
    floats sum[LANES];
    for (int i = 0; i < LANES; i++) {
      long node = nodes[first + i < count ? first + i : count - 1];
      sum[i] = multiplied(form, keys + node * dim * weight_bytes(form), query, dim);
    }
    *(some_floats *)(scores + first) = sums(sum);
  }
}

/* Softmax of the first `count` scores, all times `scale`; 0 in the rest of the last vector. */
static void weighed(float *scores, long count, float scale) {
  float most = scores[0], total = 0;
  for (long i = 1; i < count; i++) most = scores[i] > most ? scores[i] : most;
  for (long i = count; i % LANES; i++) scores[i] = -INFINITY;
  floats all = {};
  for (long i = 0; i < count; i += LANES) {
    floats each = exponential((*(some_floats *)(scores + i) - most) * scale);
    *(some_floats *)(scores + i) = each;
    all += each;
  }
  for (int i = 0; i < LANES; i++) total += all[i];
  for (long i = 0; i < count; i += LANES) *(some_floats *)(scores + i) /= total;
}

/* mixed [dim] of the nodes' values, by their shares. */
INLINE void blended(int form, const char *values, const int32_t *nodes, long count, long dim, const float *shares, float *mixed) {
  for (long d = 0; d < dim; d += 2 * LANES) {
    floats low[2] = {}, high[2] = {}; /* by turns, so that one sum need not wait for the one before */
    for (long i = 0; i < count; i++) {
      const char *at = values + (nodes[i] * dim + d) * weight_bytes(form);
      floats first = form == WHOLE ? *(const some_floats *)at : lower(*(const some_bits *)at);
      floats last = form == WHOLE ? *(const some_floats *)(at + 4 * LANES) : upper(*(const some_bits *)at);
      low[i & 1] = fused(first, (floats){} + shares[i], low[i & 1]);
      high[i & 1] = fused(last, (floats){} + shares[i], high[i & 1]);
    }
    floats a = low[0] + low[1], b = high[0] + high[1];
    *(some_floats *)(mixed + d) = form == WHOLE ? a : __builtin_shuffle(a, b, FIRST);
    *(some_floats *)(mixed + d + LANES) = form == WHOLE ? b : __builtin_shuffle(a, b, LAST);
  }
}

/* Attention of `heads` queries q [heads, dim] of one row over one head of keys, into mixed, alike. */
INLINE void attended(int form, const char *keys, const char *values, const float *q, long heads, long dim, const int32_t *nodes,
                     long count, char *query, float *scores, float *mixed) {
  for (long head = 0; head < heads; head++) {
    arranged(form, q + head * dim, dim, query);
    scored(form, keys, nodes, count, dim, query, scores);
    weighed(scores, count, 1 / sqrtf(dim));
    blended(form, values, nodes, count, dim, scores, mixed + head * dim);
  }
}

static void attend(long narrow, const char *keys, const char *values, const float *q, long heads, long dim, const int32_t *nodes,
                   long count, char *query, float *scores, float *mixed) {
#ifdef __AVX512BF16__
  const int half = PAIRS;
#else
  const int half = HALVES;
#endif
  if (narrow)
    attended(half, keys, values, q, heads, dim, nodes, count, query, scores, mixed);
  else
    attended(WHOLE, keys, values, q, heads, dim, nodes, count, query, scores, mixed);
}
