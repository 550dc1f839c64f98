/* A plain Llama's layers for a few rows on a CPU, as fast as the weights come from memory. Compiled at run time (few_rows.py).
 *
 * Libraries' products read a block of weights, then multiply, then read the next one, and end in a wait of all threads, with other
 * operations between them on one. Here all of a forward pass is one parallel region. The threads are those of torch's own OpenMP
 * library, whose symbols this finds loaded. Between layers all is fp32.
 */
#include <omp.h>

#include "products.h"
/* products first: vectors and forms are its own */
#include "attention.h"

struct layer {
  const float *norm1, *norm2; /* [hidden] */
  const char *qkv, *out, *gate_up, *down; /* packed; the rows of q and k are paired for the rotation (fused_llama.py) */
  const float *qkv_bias, *out_bias, *gate_up_bias, *down_bias; /* [out], or null */
};

struct model {
  long layers, hidden, heads, kv_heads, dim, inner, form, narrow; /* narrow: keys, values and masks are bf16, else fp32 */
  float epsilon;
  const struct layer *layer;
};

/* RMSNorm of hidden [rows, n] as a product wants it; `row` [n] is room. */
static void normed(long form, const float *hidden, const float *weight, float epsilon, long n, long rows, float *row, char *to) {
  for (long m = 0; m < rows; m++) {
    const float *x = hidden + m * n;
    floats squares = {};
    for (long i = 0; i < n; i += LANES) squares += *(const some_floats *)(x + i) * *(const some_floats *)(x + i);
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += squares[i];
    float scale = 1 / sqrtf(sum / n + epsilon);
    for (long i = 0; i < n; i += LANES)
      *(some_floats *)(row + i) = *(const some_floats *)(x + i) * scale * *(const some_floats *)(weight + i);
    narrowed(form, row, n, to + m * n * x_bytes(form));
  }
}

/* Rotates outputs first .. end of qkv [rows, all] (whole pairs), and keeps keys and values among the others' of the layer. */
static void placed(const struct model *model, const struct part *part, long layer, float *qkv, long first, long end) {
  long dim = model->dim, queries = model->heads * dim, keys = queries + model->kv_heads * dim;
  long all = keys + model->kv_heads * dim;
  for (long m = 0; m < part->rows; m++) {
    float *own = qkv + m * all;
    const float *rotation = part->rotation + (part->turns ? m : 0) * dim;
    for (long i = first; i < end; i += 2) {
      float a = own[i], b = own[i + 1];
      if (i < keys) {
        const float *turn = rotation + i % dim;
        own[i] = a * turn[0] - b * turn[1];
        own[i + 1] = a * turn[1] + b * turn[0];
      }
      if (i < queries) continue;
      long at = i < keys ? i - queries : i - keys;
      char *to = (i < keys ? part->keys : part->values) + layer * part->layer_bytes + at / dim * part->head_bytes;
      at = (part->first + m) * dim + at % dim;
      if (model->narrow) {
        ((uint16_t *)to)[at] = rounded(own[i]);
        ((uint16_t *)to)[at + 1] = rounded(own[i + 1]);
      } else {
        ((float *)to)[at] = own[i];
        ((float *)to)[at + 1] = own[i + 1];
      }
    }
  }
}

/* silu(gate) · up of gate_up [rows, 2 · n] as a product wants it; `row` [n] is room. */
static void gated(long form, const float *gate_up, long n, long rows, float *row, char *to) {
  for (long m = 0; m < rows; m++) {
    const float *gate = gate_up + 2 * m * n, *up = gate + n;
    for (long i = 0; i < n; i += LANES) {
      floats x = *(const some_floats *)(gate + i);
      *(some_floats *)(row + i) = x / (1 + exponential(-x)) * *(const some_floats *)(up + i);
    }
    narrowed(form, row, n, to + m * n * x_bytes(form));
  }
}

INLINE long most(long a, long b) { return a > b ? a : b; }
INLINE long lines(long bytes) { return (bytes + 4 * LINE) / LINE * LINE; }
INLINE char *at_line(char *at) { return (char *)(((uintptr_t)at + LINE - 1) / LINE * LINE); }

/* Room for all threads, for the lists of nodes, and for each thread, in bytes. */
struct room {
  long shared, lists, own;
};

static struct room room_of(const struct model *model, const struct part *parts, long count, long rows) {
  long lists = 0, longest = 0, queries = model->heads * model->dim;
  for (long p = 0; p < count; p++) {
    lists += parts[p].rows * (parts[p].end + 1) * 4;
    longest = most(longest, parts[p].end);
  }
  long shared = rows * (2 * queries + 2 * model->kv_heads * model->dim + 2 * model->inner) * 4;
  long widest = most(most(model->hidden, model->inner), queries);
  return (struct room){lines(shared), lines(lists), lines(((rows + 1) * widest + model->dim + longest + LANES) * 4)};
}

/* Bytes of room that few_rows_layers needs for these parts with so many threads. */
long few_rows_room(const struct model *model, const struct part *parts, long count, long rows, long threads) {
  struct room room = room_of(model, parts, count, rows);
  return room.shared + room.lists + threads * room.own + LINE;
}

/* All layers of hidden [rows, hidden] in place, the rows of the parts one after another; `at`: room for so many threads. */
void few_rows_layers(const struct model *model, const struct part *parts, long count, float *hidden, long rows, char *at,
                     int most_threads) {
  const long n = model->hidden, dim = model->dim, inner = model->inner, form = model->form, group = model->heads / model->kv_heads;
  const long queries = model->heads * dim, widest = most(most(n, inner), queries), all = queries + 2 * model->kv_heads * dim;
  const struct room room = room_of(model, parts, count, rows);
  at = at_line(at);
  float *qkv = (float *)at, *mixed = qkv + rows * all, *gate_up = mixed + rows * queries;
  int32_t *lists = (int32_t *)(at + room.shared);
#pragma omp parallel num_threads(most_threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float *row = (float *)(at + room.shared + room.lists + thread * room.own);
    char *x = (char *)(row + widest), *query = x + rows * widest * 4;
    float *scores = (float *)query + dim;
    const long q0 = share(all, OUTPUTS, thread, threads), q1 = share(all, OUTPUTS, thread + 1, threads);
    const long h0 = share(n, OUTPUTS, thread, threads), h1 = share(n, OUTPUTS, thread + 1, threads);
    const long g0 = share(2 * inner, OUTPUTS, thread, threads), g1 = share(2 * inner, OUTPUTS, thread + 1, threads);
    for (long l = 0; l < model->layers; l++) {
      const struct layer *layer = model->layer + l;
      normed(form, hidden, layer->norm1, model->epsilon, n, rows, row, x);
      product(form, layer->qkv, n, x, rows, q0, q1, (struct result){qkv, layer->qkv_bias, all, all, 0});
      long before = 0, task = 0;
      for (long p = 0; p < count; before += parts[p++].rows) placed(model, parts + p, l, qkv + before * all, q0, q1);
      int32_t *list = lists;
      for (long p = 0; l == 0 && p < count; p++)
        for (long m = 0; m < parts[p].rows; m++, list += parts[p].end + 1)
          if (task++ % threads == thread) list[0] = (int32_t)seen(parts + p, model->narrow, m, list + 1);
#pragma omp barrier
      list = lists, before = 0, task = 0;
      for (long p = 0; p < count; p++) {
        const char *keys = parts[p].keys + l * parts[p].layer_bytes, *values = parts[p].values + l * parts[p].layer_bytes;
        for (long m = 0; m < parts[p].rows; m++, before++, list += parts[p].end + 1)
          for (long head = 0, step = parts[p].head_bytes; head < model->kv_heads; head++)
            if (task++ % threads == thread)
              attend(model->narrow, keys + head * step, values + head * step, qkv + before * all + head * group * dim, group, dim,
                     list + 1, list[0], query, scores, mixed + before * queries + head * group * dim);
      }
#pragma omp barrier
      narrowed(form, mixed, rows * queries, x);
      product(form, layer->out, queries, x, rows, h0, h1, (struct result){hidden, layer->out_bias, n, n, 1});
#pragma omp barrier
      normed(form, hidden, layer->norm2, model->epsilon, n, rows, row, x);
      product(form, layer->gate_up, n, x, rows, g0, g1, (struct result){gate_up, layer->gate_up_bias, 2 * inner, 2 * inner, 0});
#pragma omp barrier
      gated(form, gate_up, inner, rows, row, x);
      product(form, layer->down, inner, x, rows, h0, h1, (struct result){hidden, layer->down_bias, n, n, 1});
#pragma omp barrier
    }
  }
}

/* out [rows, outputs] of x [rows, n], both bf16 where `narrow`, else fp32; `wide` [rows, outputs] is room for it where they are. */
void few_rows_product(long form, const char *w, const float *bias, long outputs, long n, const char *x, long narrow, long rows,
                      char *out, float *wide, char *own) {
#pragma omp parallel
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const long first = share(outputs, OUTPUTS, thread, threads), end = share(outputs, OUTPUTS, thread + 1, threads);
    if (narrow != (form == PAIRS)) { /* x in the other type than the product's, into `own` [rows, n] */
      for (long i = rows * n * thread / threads; i < rows * n * (thread + 1) / threads; i++)
        if (narrow)
          ((float *)own)[i] = widened(((const uint16_t *)x)[i]);
        else
          ((uint16_t *)own)[i] = rounded(((const float *)x)[i]);
#pragma omp barrier
    }
    const char *from = narrow != (form == PAIRS) ? own : x;
    product(form, w, n, from, rows, first, end, (struct result){narrow ? wide : (float *)out, bias, outputs, outputs, 0});
    for (long m = 0; narrow && m < rows; m++)
      for (long i = first; i < end; i++) ((uint16_t *)out)[m * outputs + i] = rounded(wide[m * outputs + i]);
  }
}

/* Outputs of a block and of one of its vectors; whether bf16 is multiplied two by two here. */
long few_rows_block(void) { return OUTPUTS; }
long few_rows_vector(void) { return LANES; }
long few_rows_has_pairs(void) {
#ifdef __AVX512BF16__
  return 1;
#else
  return 0;
#endif
}
