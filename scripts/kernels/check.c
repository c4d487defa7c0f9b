/* Runs the kernels on random small layers and compares them with plain loops: what a sanitizer or valgrind looks on at.
 *
 *     check CASES [INSTRUCTION_SET...]
 *
 * Maps are allocated to the byte and full of NaNs, so that whoever reads what he may not, or what nobody wrote, is seen.
 * Every layer is cut in several ways (tiles, rows, blocks, parts, threads, strips, sparse or dense, in the residual's
 * place): all must give the same bits, and so must all ways to cut it with pairs.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparse.h"

enum { CUTS = 8, TEAMS = 3, MOST = 14, UNCUT = 1 << 24 };

static uint64_t state = 88172645463325252u;
static spb_team *teams[TEAMS];
static int failures;
static char seen[8][4][2][MOST + 1]; /* [instruction set][one row, two rows, dense, pair][stride - 1][tile] */

static int draw(int low, int high) { /* both included */
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

static float real(void) { return (float)draw(-1000, 1000) / 500; }

static void *memory(size_t bytes, size_t alignment) {
    void *found = 0;
    if (posix_memalign(&found, alignment, bytes ? bytes : 1)) abort();
    return found;
}

static float *reals(int count) {
    float *found = memory(count * sizeof *found, sizeof(void *));
    for (int i = 0; i < count; i++) found[i] = real();
    return found;
}

static void fail(const char *isa, const char *what, int index) {
    if (failures++ < 20) printf("WRONG: case %d, %s: %s\n", index, isa, what);
}

/* --- maps ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    char *base;
    int64_t size;
    spb_map map;
} buffer;

/* strip: columns of a strip, where the map is cut; it then has no border. */
static buffer new_map(int channels, int height, int width, int border, int lanes, int strip) {
    const int64_t column = lanes * 4, pitch = strip ? strip : width + border + (border ? 0 : draw(0, 1));
    const int64_t ch = pitch * column, step = channels * ch, row = strip ? (width + strip - 1) / strip * step : step;
    const int64_t before = border * (row + column), size = before + (height + border) * row;
    buffer b = {memory(size, 64), size, {0, row, ch, step, channels, height, width, border, strip ? strip : UNCUT}};
    b.map.data = b.base + before;
    for (float *p = (float *)b.base; p < (float *)(b.base + size); p++) *p = NAN;
    return b;
}

static int zeros(const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++)
        if (from[i]) return 0;
    return 1;
}

/* Whether all that a reader may take for padding is zero. */
static int padded(const buffer *b, int lanes) {
    const spb_map *m = &b->map;
    const int64_t wide = (int64_t)m->border * lanes * 4;
    if (!m->border) return 1;
    int good = zeros(b->base, m->data - b->base) && zeros(m->data + m->height * m->row, m->border * m->row);
    for (int h = 0; h < m->height; h++)
        for (int c = 0; c < m->channels; c++)
            good &= zeros(m->data + h * m->row + c * m->ch + (int64_t)m->width * lanes * 4, wide);
    return good;
}

static int add_zero(spb_op *ops, const spb_map *map) {
    ops[0] = (spb_op){.kind = SPB_ZERO, .y = *map};
    return map->border > 0;
}

/* Images (NCHW, or NHWC) into a map. */
static int pack(spb_team *team, const spb_isa *isa, const buffer *b, const float *images, int count, int last) {
    const spb_map *m = &b->map;
    const int64_t c = m->channels, h = m->height, w = m->width;
    int32_t *unusual = memory(count * sizeof *unusual, 8);
    memset(unusual, 0, count * sizeof *unusual);
    spb_io io = {images, c * h * w, h * w, w, 1, 0, count, unusual};
    if (last) io.stride_c = 1, io.stride_h = w * c, io.stride_w = c;
    spb_op ops[2];
    const int n = add_zero(ops, m);
    ops[n] = (spb_op){.kind = SPB_PACK, .y = *m};
    spb_run(team, isa, ops, n + 1, &io);
    int strange = 0;
    for (int i = 0; i < count; i++) strange |= unusual[i] << i;
    free(unusual);
    return strange;
}

/* The same into a map that may be cut. */
static int fill(spb_team *team, const spb_isa *isa, const buffer *b, const float *images, int count, int last) {
    if (b->map.strip == UNCUT) return pack(team, isa, b, images, count, last);
    buffer whole = new_map(b->map.channels, b->map.height, b->map.width, 0, isa->lanes, 0);
    const int strange = pack(team, isa, &whole, images, count, last);
    spb_op copy = {.kind = SPB_ADD, .x = whole.map, .y = b->map, .low = -INFINITY, .high = INFINITY};
    spb_run(team, isa, &copy, 1, 0);
    free(whole.base);
    return strange;
}

/* --- layers -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int kind, stride, inputs, outputs, groups, height, width, kh, kw, dh, dw, top, left, bottom, right;
    int oh, ow, outside, count, last, has_residual, curve;
    float low, high;
    float *x, *r, *weight, *bias; /* x: [count][inputs][height][width]; r as the output */
    double *expected;             /* [count][outputs][oh][ow] */
} layer;

static int out_size(int length, int kernel, int stride, int zeros_around) {
    return (length + zeros_around - kernel) / stride + 1;
}

static float input(const layer *l, int n, int c, int h, int w) {
    if (l->last) return l->x[((n * l->height + h) * l->width + w) * l->inputs + c];
    return l->x[((n * l->inputs + c) * l->height + h) * l->width + w];
}

static double curved(int curve, double x) {
    const double hard = (x < -3 ? 0 : x > 3 ? 6 : x + 3) / 6;
    switch (curve) {
    case SPB_SIGMOID: return 1 / (1 + exp(-x));
    case SPB_HARDSIGMOID: return hard;
    case SPB_SILU: return x / (1 + exp(-x));
    case SPB_HARDSWISH: return x * hard;
    case SPB_GELU: return 0.5 * x * erfc(-x / sqrt(2));
    case SPB_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
    default: return x;
    }
}

static double one(const layer *l, int n, int c, int oh, int ow) {
    const int is_conv = l->kind == SPB_SPARSE, per = l->inputs / l->groups, first = c / (l->outputs / l->groups) * per;
    double sum = is_conv ? l->bias[c] : 0, most = -INFINITY;
    int inside = 0, whole = 0;
    for (int i = 0; i < l->kh; i++)
        for (int j = 0; j < l->kw; j++) {
            const int h = oh * l->stride + i * l->dh - l->top, w = ow * l->stride + j * l->dw - l->left;
            whole += h < l->height + l->bottom && w < l->width + l->right;
            if (h < 0 || w < 0 || h >= l->height || w >= l->width) {
                if (l->outside && most < 0) most = 0;
                continue;
            }
            inside++;
            if (!is_conv) {
                const double v = input(l, n, c, h, w);
                sum += v;
                if (v > most) most = v;
            } else
                for (int k = 0; k < per; k++)
                    sum += (double)l->weight[((c * per + k) * l->kh + i) * l->kw + j] * input(l, n, first + k, h, w);
        }
    if (l->kind == SPB_MAXPOOL) sum = most;
    if (l->kind == SPB_AVGPOOL || l->kind == SPB_MEAN) sum /= l->outside ? inside : whole;
    if (l->has_residual) sum += l->r[((n * l->outputs + c) * l->oh + oh) * l->ow + ow];
    return curved(l->curve, sum < l->low ? l->low : sum > l->high ? l->high : sum);
}

static layer new_layer(int index) {
    layer l = {.stride = 1, .groups = 1, .kh = 1, .kw = 1, .dh = 1, .dw = 1, .low = -INFINITY, .high = INFINITY};
    const int others[] = {SPB_MAXPOOL, SPB_AVGPOOL, SPB_MEAN, SPB_ADD};
    l.kind = index % 3 ? SPB_SPARSE : others[index / 3 % 4];
    l.inputs = draw(1, 12), l.outputs = draw(1, 20);
    l.height = draw(1, 7), l.width = draw(1, 32), l.count = draw(1, 16), l.last = draw(0, 1);
    if (l.kind == SPB_SPARSE) {
        l.stride = draw(1, 2), l.kh = draw(1, 4), l.kw = draw(1, 4), l.dh = draw(1, 2), l.dw = draw(1, 2);
        l.top = draw(0, 2), l.left = draw(0, 2), l.bottom = draw(0, 2), l.right = draw(0, 2);
        if (draw(0, 2) == 0) /* position by position */
            l.stride = l.kh = l.kw = 1, l.top = l.left = l.bottom = l.right = 0;
        else if (draw(0, 3) == 0) l.groups = draw(2, 4), l.inputs = l.groups * draw(1, 3), l.outputs = l.groups * draw(1, 4);
        else if (draw(0, 5) == 0) l.groups = l.outputs = l.inputs; /* depthwise */
    } else
        l.outputs = l.inputs;
    if (l.kind == SPB_MAXPOOL || l.kind == SPB_AVGPOOL) {
        l.kh = draw(1, 3), l.kw = draw(1, 3), l.stride = draw(1, 3), l.outside = draw(0, 1);
        l.top = l.kh / 2 * draw(0, 1), l.left = l.kw / 2 * draw(0, 1), l.bottom = l.kh / 2, l.right = l.kw / 2;
    }
    if (l.kind == SPB_MEAN) l.kh = l.height, l.kw = l.width;
    const int reach_h = (l.kh - 1) * l.dh + 1, reach_w = (l.kw - 1) * l.dw + 1;
    if (l.height + l.top + l.bottom < reach_h) l.height = reach_h;
    if (l.width + l.left + l.right < reach_w) l.width = reach_w;
    l.oh = out_size(l.height, reach_h, l.stride, l.top + l.bottom);
    l.ow = out_size(l.width, reach_w, l.stride, l.left + l.right);
    l.has_residual = (l.kind == SPB_SPARSE || l.kind == SPB_ADD) && draw(0, 1);
    if (l.kind != SPB_MEAN && draw(0, 1)) l.low = 0, l.high = draw(0, 1) ? 1.5f : INFINITY;
    else if (l.kind != SPB_MEAN && draw(0, 2) == 0) l.curve = draw(SPB_SIGMOID, SPB_GELU_TANH);

    const int weights = l.outputs * (l.inputs / l.groups) * l.kh * l.kw, density = draw(0, 4);
    l.x = reals(l.count * l.inputs * l.height * l.width);
    l.r = reals(l.count * l.outputs * l.oh * l.ow);
    l.weight = reals(weights), l.bias = reals(l.outputs);
    for (int i = 0; i < weights; i++)
        if (draw(1, 4) > density) l.weight[i] = 0;
    l.expected = memory(l.count * l.outputs * l.oh * l.ow * sizeof(double), 8);
    double *e = l.expected;
    for (int n = 0; n < l.count; n++)
        for (int c = 0; c < l.outputs; c++)
            for (int h = 0; h < l.oh; h++)
                for (int w = 0; w < l.ow; w++) *e++ = one(&l, n, c, h, w);
    return l;
}

static void free_layer(layer *l) {
    free(l->x), free(l->r), free(l->weight), free(l->bias), free(l->expected);
}

/* How many zeros around its input a layer reads. */
static int border_of(const layer *l) {
    if (l->kind != SPB_SPARSE) return 0;
    const int below = (l->oh - 1) * l->stride + (l->kh - 1) * l->dh - l->top - (l->height - 1);
    const int right = (l->ow - 1) * l->stride + (l->kw - 1) * l->dw - l->left - (l->width - 1);
    int most = l->top > l->left ? l->top : l->left;
    most = below > most ? below : most;
    most = right > most ? right : most;
    return most;
}

/* --- weights, cut into blocks of input channels ---------------------------------------------------------------------- */

typedef struct {
    int32_t *starts, *offsets, *both_starts;
    spb_entry *entries;
    spb_both *both;
    float *weights;
} packed;

static float weight_of(const layer *l, int c, int k) { /* of a position-wise layer */
    return c < l->outputs ? l->weight[c * l->inputs + k] : 0;
}

/* What both channels of a pair have a weight for, taken out of `own` (a copy of the weights). */
static void pack_pairs(const layer *l, const spb_map *x, int block, spb_op *op, packed *p, float *own) {
    const int pairs = (l->outputs + 1) / 2;
    p->both_starts = memory((size_t)op->blocks * (pairs + 1) * sizeof *p->both_starts, 8);
    p->both = memory((size_t)pairs * l->inputs * sizeof *p->both, 8);
    int at = 0;
    for (int b = 0; b < op->blocks; b++)
        for (int i = 0; i <= pairs; i++) {
            p->both_starts[b * (pairs + 1) + i] = at;
            if (i == pairs) break;
            for (int k = b * block; k < l->inputs && k < (b + 1) * block; k++) {
                const float one = weight_of(l, 2 * i, k), two = weight_of(l, 2 * i + 1, k);
                if (one == 0 || two == 0) continue;
                p->both[at++] = (spb_both){k * x->ch, {one, two}};
                own[2 * i * l->inputs + k] = own[(2 * i + 1) * l->inputs + k] = 0;
            }
        }
    op->both_starts = p->both_starts, op->both = p->both;
}

static packed pack_weights(const layer *l, const spb_map *x, int lanes, int block, spb_op *op) {
    const int per = l->inputs / l->groups, per_out = l->outputs / l->groups, positions = l->kh * l->kw;
    packed p = {0};
    op->blocks = (l->inputs + block - 1) / block;
#define OFFSET(k, i, j)                                                                                            \
    (int32_t)(((i) * l->dh - l->top) * x->row + ((j) * l->dw - l->left) * (int64_t)lanes * 4 + (k) * x->ch)
    if (op->kind == SPB_DENSE) {
        const int groups = (l->outputs + SPB_GROUP - 1) / SPB_GROUP;
        op->inputs = l->inputs * positions;
        p.starts = memory((op->blocks + 1) * sizeof *p.starts, 8);
        for (int b = 0; b <= op->blocks; b++)
            p.starts[b] = (b * block < l->inputs ? b * block : l->inputs) * positions;
        p.offsets = memory(op->inputs * sizeof *p.offsets, 8);
        p.weights = memory((size_t)groups * op->inputs * SPB_GROUP * sizeof *p.weights, 8);
        for (int k = 0; k < op->inputs; k++) {
            p.offsets[k] = OFFSET(k / positions, k % positions / l->kw, k % l->kw);
            for (int c = 0; c < groups * SPB_GROUP; c++)
                p.weights[((c / SPB_GROUP) * op->inputs + k) * SPB_GROUP + c % SPB_GROUP] =
                    c < l->outputs ? l->weight[c * op->inputs + k] : 0;
        }
    } else {
        const int total = l->outputs * per * positions;
        float *own = memory(total * sizeof *own, 8);
        memcpy(own, l->weight, total * sizeof *own);
        if (op->kind == SPB_PAIR) pack_pairs(l, x, block, op, &p, own);
        int used = 0;
        for (int i = 0; i < total; i++) used += own[i] != 0;
        p.starts = memory((size_t)op->blocks * (l->outputs + 1) * sizeof *p.starts, 8);
        p.entries = memory(used * sizeof *p.entries, 8);
        int at = 0;
        for (int b = 0; b < op->blocks; b++) {
            p.starts[b * (l->outputs + 1)] = at;
            for (int c = 0; c < l->outputs; c++) {
                for (int k = 0; k < per; k++)
                    for (int q = 0; q < positions; q++) {
                        const float value = own[(c * per + k) * positions + q];
                        const int channel = c / per_out * per + k;
                        if (value == 0 || channel / block != b) continue;
                        p.entries[at++] = (spb_entry){OFFSET(channel, q / l->kw, q % l->kw), value};
                    }
                p.starts[b * (l->outputs + 1) + c + 1] = at;
            }
        }
        free(own);
    }
    op->starts = p.starts, op->entries = p.entries, op->offsets = p.offsets, op->weights = p.weights;
    return p;
}

static void free_packed(packed *p) {
    free(p->starts), free(p->offsets), free(p->entries), free(p->weights), free(p->both_starts), free(p->both);
}

/* --- one layer on one instruction set ------------------------------------------------------------------------------ */

/* Whether an output looks at its own position alone. */
static int position_wise(const layer *l) {
    return l->kind == SPB_ADD || l->kind == SPB_MEAN ||
           (l->kind == SPB_SPARSE && l->groups == 1 && l->kh == 1 && l->kw == 1 && l->stride == 1 && !border_of(l));
}

static void cut(const layer *l, const spb_isa *isa, int which, int turn, spb_op *op) {
    const int units = isa->lanes / isa->vector, across = l->ow * units;
    op->kind = l->groups == 1 && turn % 3 == 2 ? SPB_DENSE : SPB_SPARSE;
    if (isa->pair_tile && position_wise(l) && turn >= CUTS / 2) op->kind = SPB_PAIR;
    op->rows = op->kind == SPB_SPARSE && l->oh > 1 ? draw(1, 2) : 1;
    int most = op->kind == SPB_DENSE ? isa->dense_tile : op->rows == 2 ? isa->tile / 2 : MOST;
    if (op->kind == SPB_PAIR) most = isa->pair_tile;
    if (across < most) most = across;
    op->tile = (draw(0, 1) ? most / units : draw(1, most / units)) * units;
    op->parts = draw(1, 4);
    const int kernel = op->kind == SPB_PAIR ? 3 : op->kind == SPB_DENSE ? 2 : op->rows - 1;
    seen[which][kernel][op->stride - 1][op->tile] = 1;
}

static void check_layer(const layer *l, const spb_isa *isa, int which, int index) {
    const int lanes = isa->lanes, count = l->count < lanes ? l->count : lanes;
    const int features = l->outputs * l->oh * l->ow, is_conv = l->kind == SPB_SPARSE;
    spb_team *team = teams[draw(0, TEAMS - 1)];
    const int in_strips = position_wise(l) && draw(0, 1), border = in_strips ? 0 : border_of(l) + (draw(0, 3) == 0);
    buffer x = new_map(l->inputs, l->height, l->width, border, lanes, in_strips ? draw(1, l->width) : 0);
    if (fill(team, isa, &x, l->x, count, l->last)) fail(isa->name, "finite images are said not to be", index);
    if (!padded(&x, lanes)) fail(isa->name, "the images' padding", index);
    float *first[2] = {0}; /* with pairs, weights are added up in another order */
    const int block = draw(1, l->inputs);
    for (int turn = 0; turn < (is_conv ? CUTS : 2); turn++) {
        const int strips = draw(0, 1), in_place = l->has_residual && draw(0, 1);
        buffer y = new_map(l->outputs, l->oh, l->ow, strips ? 0 : draw(0, 2), lanes, strips ? draw(1, l->ow) : 0);
        buffer r = in_place ? y : new_map(l->outputs, l->oh, l->ow, 0, lanes, draw(0, 1) ? draw(1, l->ow) : 0);
        fill(team, isa, &r, l->r, count, 0);
        spb_op op = {.kind = l->kind, .stride = l->stride, .x = x.map, .y = y.map, .low = l->low, .high = l->high};
        if (l->has_residual) op.r = r.map;
        op.curve = l->curve, op.slope = 1;
        op.bias = l->bias, op.parts = op.blocks = op.rows = op.tile = 1;
        op.kernel_h = l->kh, op.kernel_w = l->kw, op.pad_top = l->top, op.pad_left = l->left, op.outside = l->outside;
        op.limit_h = l->height + l->bottom, op.limit_w = l->width + l->right;
        op.reach_h = (l->kh - 1) * l->dh + 1, op.reach_w = (l->kw - 1) * l->dw + 1;
        packed p = {0};
        if (is_conv) {
            cut(l, isa, which, turn, &op);
            const int pairs = op.kind == SPB_PAIR; /* they have a block of their own */
            op.sweep = !pairs && draw(0, 1);       /* one block */
            p = pack_weights(l, &x.map, lanes, pairs ? block : op.sweep ? l->inputs : draw(1, l->inputs), &op);
        }
        float *found = memory((size_t)count * features * sizeof *found, 8);
        spb_io io = {.output = found, .count = count};
        spb_op ops[3];
        int n = add_zero(ops, &y.map);
        ops[n++] = op;
        ops[n++] = (spb_op){.kind = SPB_UNPACK, .x = y.map};
        if (spb_run(teams[(turn + index) % TEAMS], isa, ops, n, &io)) fail(isa->name, "no memory", index);
        int wrong = 0;
        for (int i = 0; i < count * features; i++) {
            const double e = l->expected[i];
            wrong += !(fabs(found[i] - e) <= 1e-4 * (1 + fabs(e)));
        }
        if (wrong) fail(isa->name, is_conv ? "a convolution's output" : "a pool's or sum's output", index);
        if (!padded(&y, lanes)) fail(isa->name, "the output's padding", index);
        float **other = &first[op.kind == SPB_PAIR];
        if (!*other)
            *other = found;
        else {
            for (int i = 0; i < count * features; i++) wrong += found[i] != (*other)[i];
            if (wrong) fail(isa->name, "another cut gives other bits", index);
            free(found);
        }
        free_packed(&p), free(y.base);
        if (!in_place) free(r.base);
    }
    free(first[0]), free(first[1]), free(x.base);
}

/* Images come back bit for bit; the ones that aren't finite are named; what isn't a number passes a clamp. */
static void check_strange(const spb_isa *isa, int index) {
    enum { C = 3, H = 4, W = 5, SIZE = C * H * W };
    const int count = draw(1, isa->lanes);
    const float values[] = {NAN, INFINITY, -INFINITY};
    float *images = reals(count * SIZE), *found = memory((size_t)count * SIZE * sizeof *found, 8);
    int strange = 0;
    for (int n = 0; n < count; n++)
        if (draw(0, 2) == 0) images[n * SIZE + draw(0, SIZE - 1)] = values[draw(0, 2)], strange |= 1 << n;
    buffer x = new_map(C, H, W, draw(0, 1), isa->lanes, 0), y = new_map(C, H, W, draw(0, 1), isa->lanes, 0);
    if (pack(teams[index % TEAMS], isa, &x, images, count, 0) != strange)
        fail(isa->name, "which images aren't finite", index);
    spb_io io = {.output = found, .count = count};
    spb_op ops[3];
    int n = add_zero(ops, &y.map);
    ops[n++] = (spb_op){.kind = SPB_ADD, .x = x.map, .y = y.map, .low = 0, .high = 1};
    ops[n++] = (spb_op){.kind = SPB_UNPACK, .x = y.map};
    spb_run(teams[(index + 1) % TEAMS], isa, ops, n, &io);
    for (int i = 0; i < count * SIZE; i++) {
        const float v = images[i], e = v < 0 ? 0 : v > 1 ? 1 : v;
        if (isnan(v) ? !isnan(found[i]) : found[i] != e) fail(isa->name, "a clamp", index);
    }
    free(images), free(found), free(x.base), free(y.base);
}

#include "token_checks.h"
#include "training_checks.h"

/* --- teams --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const spb_isa *isa;
    int threads, wrong;
} guest;

/* Its own team in a thread of its own: many short jobs, of a growing number of layers. */
static void *use_team(void *argument) {
    guest *g = argument;
    enum { LENGTH = 6, MAPS = 2 };
    spb_team *team = spb_team_new(g->threads);
    const int lanes = g->isa->lanes;
    const int64_t size = LENGTH * LENGTH * lanes * 4;
    char *data = spb_alloc(MAPS * size);
    float out[LENGTH * LENGTH];
    for (int job = 0; job < 60; job++) {
        spb_op ops[40];
        const int count = 1 + job % 38;
        ((float *)data)[0] = 1;
        for (int i = 0; i < count; i++) {
            spb_map m[MAPS];
            for (int k = 0; k < MAPS; k++)
                m[k] = (spb_map){data + k * size, LENGTH * lanes * 4, LENGTH * lanes * 4, 0, 1, LENGTH, LENGTH, 0, UNCUT};
            ops[i] = (spb_op){.kind = SPB_ADD, .x = m[i % 2], .r = m[i % 2], .y = m[1 - i % 2], .high = INFINITY};
        }
        ops[count] = (spb_op){.kind = SPB_UNPACK, .x = ops[count - 1].y};
        spb_io io = {.output = out, .count = 1};
        g->wrong += spb_run(team, g->isa, ops, count + 1, &io) != 0 || out[0] != ldexpf(1, count);
    }
    spb_free(data);
    spb_team_free(team);
    return 0;
}

static void check_teams(const spb_isa *isa) {
    guest guests[2] = {{isa, 2, 0}, {isa, 3, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], 0, use_team, &guests[i])) abort();
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], 0);
        if (guests[i].wrong) fail(isa->name, "two teams at once", 0);
    }
    if (spb_team_new(0) || spb_alloc(0)) fail(isa->name, "no threads, or no bytes", 0);
}

static int chosen(const char *name, int count, char **names) {
    for (int i = 0; i < count; i++)
        if (!strcmp(name, names[i])) return 1;
    return count == 0;
}

/* Tiles that no case ran. */
static int missed(const spb_isa *isa, int which) {
    const int units = isa->lanes / isa->vector, most[] = {MOST, isa->tile / 2, isa->dense_tile, isa->pair_tile};
    int count = 0;
    for (int kind = 0; kind < 4; kind++)
        for (int stride = 0; stride < (kind == 3 ? 1 : 2); stride++)
            for (int tile = units; tile <= most[kind]; tile += units) count += !seen[which][kind][stride][tile];
    return count;
}

int main(int argc, char **argv) {
    const int cases = argc > 1 ? atoi(argv[1]) : 300;
    int sets = 0;
    setvbuf(stdout, 0, _IOLBF, 0);
    for (int i = 0; i < TEAMS; i++)
        if (!(teams[i] = spb_team_new(i + 1))) return 2;
    for (int index = 0; index < cases; index++) {
        layer l = new_layer(index);
        for (int i = 0; i < spb_count(); i++) {
            const spb_isa *isa = spb_get(i);
            if (!spb_usable(i) || !chosen(isa->name, argc - 2, argv + 2)) continue;
            check_layer(&l, isa, i, index);
            if (index % 10 == 0) check_strange(isa, index);
            if (index % 3 == 0) check_tokens(isa, index);
            check_training(&l, isa, index);
        }
        free_layer(&l);
    }
    for (int i = 0; i < spb_count(); i++) {
        const spb_isa *isa = spb_get(i);
        if (!spb_usable(i) || !chosen(isa->name, argc - 2, argv + 2)) continue;
        check_teams(isa);
        sets++;
        printf("  %s: %d layers; tiles that none of them took: %d\n", isa->name, cases, missed(isa, i));
        if (cases >= 400 && missed(isa, i)) fail(isa->name, "tiles that weren't run", cases);
    }
    for (int i = 0; i < TEAMS; i++) spb_team_free(teams[i]);
    if (!sets) printf("  no instruction set of this processor was asked for\n");
    if (failures) printf("  %d failures\n", failures);
    return failures || !sets;
}
