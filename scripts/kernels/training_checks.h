/* The operations of csrc/training.h on random small maps of one or two chunks, against plain loops.
 *
 * The lanes of the last chunk that hold no image are full of numbers in activations, and of zeros in gradients, where
 * they must stay zeros.
 */

typedef struct {
    const spb_isa *isa;
    int index, images, chunks;
} batch;

/* One map per chunk, behind one another. */
static buffer new_maps(const batch *b, int channels, int height, int width, int border, int strip) {
    buffer one = new_map(channels, height, width, border, b->isa->lanes, strip);
    const int64_t before = one.map.data - one.base;
    free(one.base);
    one.base = memory(one.size * b->chunks, 64);
    one.map.data = one.base + before;
    for (float *p = (float *)one.base; p < (float *)(one.base + one.size * b->chunks); p++) *p = NAN;
    return one;
}

static float *lane(const batch *b, const buffer *of, int n, int c, int h, int w) {
    const spb_map *m = &of->map;
    const int lanes = b->isa->lanes;
    const int64_t column = w / m->strip * m->step + (int64_t)(w % m->strip) * lanes * 4;
    return (float *)(m->data + n / lanes * of->size + h * m->row + c * m->ch + column) + n % lanes;
}

/* FOR(m) { ... }: n, c, h and w go over all lanes, i over the values of those that hold an image. */
#define FOR(m)                                                                                                     \
    for (int n = 0, i = 0; n < b->chunks * b->isa->lanes; n++)                                                     \
        for (int c = 0; c < (m).channels; c++)                                                                     \
            for (int h = 0; h < (m).height; h++)                                                                   \
                for (int w = 0; w < (m).width; w++, i++)

static int values(const batch *b, const spb_map *m) { return b->images * m->channels * m->height * m->width; }

/* Random values, put into maps; the lanes without an image hold zeros where it is a gradient. */
static float *filled(const batch *b, const buffer *of, int is_gradient) {
    float *v = reals(values(b, &of->map));
    FOR(of->map) *lane(b, of, n, c, h, w) = n < b->images ? v[i] : is_gradient ? 0 : real();
    return v;
}

static void expect(const batch *b, const buffer *of, const double *wanted, int is_gradient, const char *what) {
    int wrong = 0;
    FOR(of->map) {
        const double found = *lane(b, of, n, c, h, w), e = n < b->images ? wanted[i] : 0;
        if (n < b->images || is_gradient) wrong += !(fabs(found - e) <= 1e-4 * (1 + fabs(e)));
    }
    if (wrong) fail(b->isa->name, what, b->index);
}

static void expect_list(const batch *b, const float *found, const double *wanted, int count, const char *what) {
    int wrong = 0;
    for (int i = 0; i < count; i++) wrong += !(fabs(found[i] - wanted[i]) <= 2e-4 * (1 + fabs(wanted[i])));
    if (wrong) fail(b->isa->name, what, b->index);
}

static void expect_border(const batch *b, const buffer *of) {
    for (int chunk = 0; chunk < b->chunks; chunk++) {
        buffer one = *of;
        one.base += chunk * of->size, one.map.data += chunk * of->size;
        if (!padded(&one, b->isa->lanes)) fail(b->isa->name, "the padding in training", b->index);
    }
}

static int over_all(int kind) {
    return kind == SPB_MOMENTS || kind == SPB_NORM_SLOPES || kind == SPB_KEPT || kind == SPB_KEPT_SUM || kind == SPB_BIAS;
}

/* Runs an operation; its maps may be absent. */
static void train(const batch *b, spb_op op, spb_train *t, const buffer *x, const buffer *y, const buffer *r) {
    t->images = b->images, t->batches = b->chunks;
    if (x) op.x = x->map, op.x_step = x->size;
    if (y) op.y = y->map, op.y_step = y->size;
    if (r) op.r = r->map, op.r_step = r->size;
    op.chunks = over_all(op.kind) ? 0 : b->chunks, op.train = t;
    if (!op.stride) op.stride = 1;
    if (!op.parts) op.parts = 1;
    spb_op ops[2] = {{.kind = SPB_ZERO, .chunks = b->chunks, .train = t}, op};
    if (y) ops[0].y = y->map, ops[0].y_step = y->size;
    const int zero = y && y->map.border && op.kind != SPB_KEPT;
    spb_run(teams[draw(0, TEAMS - 1)], b->isa, ops + !zero, 1 + zero, 0);
}

static double *zeros_of(int count) {
    double *found = memory(count * sizeof *found, 8);
    for (int i = 0; i < count; i++) found[i] = 0;
    return found;
}

static int strip_of(int width) { return draw(0, 1) ? draw(1, width) : 0; }

/* --- batch normalisation -------------------------------------------------------------------------------------------- */

static void check_norm(const batch *b) {
    const int channels = draw(1, 20), height = draw(1, 5), width = draw(1, 12), area = height * width;
    const int clamped = draw(0, 1), added = draw(0, 1), fixed = draw(0, 3) == 0, seen = clamped && (added || draw(0, 1));
    const double M = (double)b->images * area;
    if (M < 2) return;
#define NEW new_maps(b, channels, height, width, 0, strip_of(width))
    buffer z = NEW, r = NEW, g = NEW, apart = NEW;
    const int border = draw(0, 2);
    buffer y = new_maps(b, channels, height, width, border, border ? 0 : strip_of(width));
    float *vz = filled(b, &z, 0), *vr = filled(b, &r, 0), *vg = filled(b, &g, 1);
    float *lists[12];
    for (int k = 0; k < 12; k++) lists[k] = reals(channels);
    for (int c = 0; c < channels; c++) lists[3][c] = fabsf(lists[3][c]) + 0.5f;
    double *sums = memory(sizeof(double) * b->chunks * height * channels * 2, 8);
    spb_train t = {.epsilon = 1e-3f, .momentum = 0.1f, .fixed = fixed, .sums = sums, .gain = lists[0], .offset = lists[1],
                   .running_mean = lists[2], .running_var = lists[3], .mean = lists[4], .inverse = lists[5],
                   .scale = lists[6], .shift = lists[7], .slope = lists[8], .level = lists[9],
                   .gain_gradient = lists[10], .offset_gradient = lists[11], .z = z.map, .z_step = z.size,
                   .from_input = clamped && !seen};
    const float low = clamped ? 0 : -INFINITY, high = clamped ? 1.5f : INFINITY;
    const int count = values(b, &z.map);
    double *mean = zeros_of(channels), *variance = zeros_of(channels), *g1 = zeros_of(channels), *g2 = zeros_of(channels);
    double *wanted = zeros_of(count), *behind = zeros_of(count);
    for (int i = 0; i < count; i++) mean[i / area % channels] += vz[i] / M;
    for (int i = 0; i < count; i++) variance[i / area % channels] += pow(vz[i] - mean[i / area % channels], 2) / M;
    for (int c = 0; fixed && c < channels; c++) mean[c] = lists[2][c], variance[c] = lists[3][c];
    for (int i = 0; i < count; i++) {
        const int c = i / area % channels;
        const double v = (vz[i] - mean[c]) / sqrt(variance[c] + t.epsilon) * t.gain[c] + t.offset[c] + (added ? vr[i] : 0);
        wanted[i] = v < low ? low : v > high ? high : v;
    }
#define RUN_NORM(which, ...) train(b, (spb_op){.kind = which, .low = low, .high = high}, &t, __VA_ARGS__)
    RUN_NORM(SPB_SUMS, &z, 0, 0);
    RUN_NORM(SPB_MOMENTS, &z, 0, 0);
    RUN_NORM(SPB_NORM, &z, &y, added ? &r : 0);
    expect(b, &y, wanted, 0, "a norm's output");
    expect_border(b, &y);
    FOR(y.map) { /* a clamp is open where the output says so: a rounding may decide */
        if (n >= b->images) continue;
        const float v = *lane(b, &y, n, c, h, w);
        behind[i] = v <= low || v >= high ? 0 : vg[i];
        g1[c] += behind[i], g2[c] += behind[i] * (vz[i] - mean[c]);
    }
    RUN_NORM(SPB_NORM_SUMS, &g, seen ? &g : 0, seen ? &y : 0);
    if (seen) expect(b, &g, behind, 1, "a gradient behind a norm's clamp");
    RUN_NORM(SPB_NORM_SLOPES, &g, 0, 0);
    buffer *into = added ? &apart : &g;
    RUN_NORM(SPB_NORM_BACK, &g, into, 0);
    for (int i = 0; i < count; i++) {
        const int c = i / area % channels;
        const double inverse = 1 / sqrt(variance[c] + t.epsilon), scale = t.gain[c] * inverse;
        const double batch_part = fixed ? 0 : g1[c] / M + (vz[i] - mean[c]) * inverse * inverse * g2[c] / M;
        wanted[i] = scale * (behind[i] - batch_part);
    }
    expect(b, into, wanted, 1, "a norm's input gradient");
    expect_list(b, t.offset_gradient, g1, channels, "a norm's offset gradient");
    for (int c = 0; c < channels; c++) g2[c] /= sqrt(variance[c] + t.epsilon);
    expect_list(b, t.gain_gradient, g2, channels, "a norm's gain gradient");
    for (int k = 0; k < 12; k++) free(lists[k]);
    free(vz), free(vr), free(vg), free(sums), free(mean), free(variance), free(g1), free(g2), free(wanted), free(behind);
    free(z.base), free(r.base), free(g.base), free(apart.base), free(y.base);
}

/* --- weight gradients ------------------------------------------------------------------------------------------------ */

/* Of every second weight or so of a convolution; and the gradients of its biases. */
static void check_kept(const batch *b, const layer *l) {
    const int units = b->isa->lanes / b->isa->vector, per = l->inputs / l->groups, taps = l->kh * l->kw;
    const int cut = position_wise(l) && draw(0, 1), border = cut ? 0 : border_of(l);
    buffer x = new_maps(b, l->inputs, l->height, l->width, border, cut ? draw(1, l->width) : 0);
    buffer g = new_maps(b, l->outputs, l->oh, l->ow, 0, strip_of(l->ow));
    if (border) memset(x.base, 0, x.size * b->chunks);
    float *vx = filled(b, &x, 0), *vg = filled(b, &g, 1);
    int32_t *starts = memory((l->outputs + 1) * sizeof *starts, 8);
    int32_t *offsets = memory((size_t)l->outputs * per * taps * sizeof *offsets, 8);
    double *wanted = zeros_of(l->outputs * per * taps), *biases = zeros_of(l->outputs);
    int count = 0;
    for (int o = 0; o < l->outputs; o++) {
        starts[o] = count;
        for (int k = 0; k < per * taps; k++) {
            const int c = o / (l->outputs / l->groups) * per + k / taps;
            const int i = k % taps / l->kw * l->dh - l->top, j = k % taps % l->kw * l->dw - l->left;
            if (l->weight[o * per * taps + k] == 0) continue;
            offsets[count] = (int32_t)(i * x.map.row + j * (int64_t)b->isa->lanes * 4 + c * x.map.ch);
            for (int n = 0; n < b->images; n++)
                for (int h = 0; h < l->oh; h++)
                    for (int w = 0; w < l->ow; w++) {
                        const int ih = h * l->stride + i, iw = w * l->stride + j;
                        if (ih < 0 || iw < 0 || ih >= l->height || iw >= l->width) continue;
                        wanted[count] += (double)vg[((n * l->outputs + o) * l->oh + h) * l->ow + w] *
                                         vx[((n * l->inputs + c) * l->height + ih) * l->width + iw];
                    }
            count++;
        }
        for (int n = 0; n < b->images; n++)
            for (int p = 0; p < l->oh * l->ow; p++) biases[o] += vg[(n * l->outputs + o) * l->oh * l->ow + p];
    }
    starts[l->outputs] = count;
    float *first = 0;
    const int rows = draw(1, b->isa->pair_tile && l->oh > 2 ? 3 : 1), tile = draw(1, 8 / units) * units;
    const int band = draw(1, (l->oh + rows - 1) / rows) * rows, bands = (l->oh + band - 1) / band;
    for (int turn = 0; turn < 2; turn++) { /* parts and threads change no bit */
        float *partial = memory((size_t)bands * count * sizeof *partial, 8), *found = memory(count * sizeof *found, 8);
        spb_train t = {.bands = bands, .band = band, .count = count, .partial = partial, .to = found};
        const spb_op op = {.kind = SPB_KEPT, .stride = l->stride, .parts = draw(1, 4), .rows = rows, .tile = tile,
                           .starts = starts, .offsets = offsets};
        train(b, op, &t, &x, &g, 0);
        train(b, (spb_op){.kind = SPB_KEPT_SUM}, &t, 0, 0, 0);
        expect_list(b, found, wanted, count, "weight gradients");
        if (turn && count && memcmp(first, found, count * sizeof *found)) fail(b->isa->name, "parts change bits", b->index);
        free(partial), free(first);
        first = found;
    }
    double *sums = memory(sizeof(double) * b->chunks * l->oh * l->outputs * 2, 8);
    float *bias = reals(l->outputs);
    spb_train t = {.sums = sums, .offset_gradient = bias};
    train(b, (spb_op){.kind = SPB_SUMS}, &t, &g, 0, 0);
    train(b, (spb_op){.kind = SPB_BIAS}, &t, &g, 0, 0);
    expect_list(b, bias, biases, l->outputs, "bias gradients");
    free(first), free(sums), free(bias), free(starts), free(offsets), free(wanted), free(biases), free(vx), free(vg);
    free(x.base), free(g.base);
}

/* --- pools, means, strides, clamps ------------------------------------------------------------------------------------ */

static void check_pool(const batch *b, const layer *l) {
    const int is_max = draw(0, 1);
    buffer x = new_maps(b, l->inputs, l->oh, l->ow, 0, strip_of(l->ow)), y = new_maps(b, l->inputs, l->height, l->width, 0, 0);
    buffer r = new_maps(b, l->inputs, l->height, l->width, 0, strip_of(l->width)), z = new_maps(b, l->inputs, l->oh, l->ow, 0, 0);
    float *vx = filled(b, &x, 1), *vr = filled(b, &r, 0);
    double *wanted = zeros_of(values(b, &y.map));
    FOR(x.map) {
        const int top = h * l->stride - l->top, left = w * l->stride - l->left;
        int best = -1, inside = 0, whole = 0;
        float most = l->outside ? 0 : -INFINITY; /* the zeros around count, for a maximum */
        for (int pass = 0; pass < 2; pass++)
            for (int k = top; k < top + l->kh; k++)
                for (int j = left; j < left + l->kw; j++) {
                    whole += !pass && k < l->height + l->bottom && j < l->width + l->right;
                    if (k < 0 || j < 0 || k >= l->height || j >= l->width) continue;
                    inside += !pass;
                    const int at = ((n * l->inputs + c) * l->height + k) * l->width + j;
                    const float v = *lane(b, &r, n, c, k, j);
                    if (!pass && (v > most || most == -INFINITY)) most = v;
                    if (n >= b->images) continue;
                    if (pass && !is_max) wanted[at] += (double)vx[i] / (l->outside ? inside : whole);
                    if (pass && is_max && best < 0 && v == most) wanted[best = at] += vx[i];
                }
        *lane(b, &z, n, c, h, w) = most;
    }
    spb_train t = {.z = z.map, .z_step = z.size};
    train(b, (spb_op){.kind = SPB_FILL}, &t, 0, &y, 0);
    spb_op op = {.kind = is_max ? SPB_MAXPOOL_BACK : SPB_AVGPOOL_BACK, .stride = l->stride, .kernel_h = l->kh,
                 .kernel_w = l->kw, .pad_top = l->top, .pad_left = l->left, .outside = l->outside,
                 .limit_h = l->height + l->bottom, .limit_w = l->width + l->right};
    train(b, op, &t, &x, &y, is_max ? &r : 0);
    expect(b, &y, wanted, 1, is_max ? "a maximum's gradient" : "an average's gradient");
    free(vx), free(vr), free(wanted), free(x.base), free(y.base), free(r.base), free(z.base);
}

static void check_elementwise(const batch *b) {
    const int channels = draw(1, 9), height = draw(1, 6), width = draw(1, 20);
    buffer y = new_maps(b, channels, height, width, 0, strip_of(width)), r = new_maps(b, channels, height, width, 0, 0);
    const int down = draw(0, height > 1), right = draw(0, width > 1);
    const int high = (height - down + 1) / 2, wide = (width - right + 1) / 2;
    buffer part = new_maps(b, channels, high, wide, 0, strip_of(wide)), one = new_maps(b, channels, 1, 1, 0, 0);
    float *vr = filled(b, &r, 0), *vp = filled(b, &part, 1), *vo = filled(b, &one, 1);
    double *wanted = zeros_of(values(b, &y.map));
    spb_train t = {.shift_h = down, .shift_w = right};
    train(b, (spb_op){.kind = SPB_FILL}, &t, 0, &y, 0);
    train(b, (spb_op){.kind = SPB_SPREAD, .stride = 2}, &t, &part, &y, 0);
    FOR(part.map) if (n < b->images) wanted[((n * channels + c) * height + 2 * h + down) * width + 2 * w + right] = vp[i];
    expect(b, &y, wanted, 1, "a gradient spread over strides");
    train(b, (spb_op){.kind = SPB_MASK, .low = -1, .high = 1}, &t, &y, &y, &r);
    FOR(y.map) if (n < b->images) wanted[i] *= vr[i] > -1 && vr[i] < 1;
    expect(b, &y, wanted, 1, "a gradient behind a clamp");
    train(b, (spb_op){.kind = SPB_MEAN_BACK}, &t, &one, &y, 0);
    FOR(y.map) if (n < b->images) wanted[i] = (double)vo[n * channels + c] / (height * width);
    expect(b, &y, wanted, 1, "a mean's gradient");
    free(vr), free(vp), free(vo), free(wanted), free(y.base), free(r.base), free(part.base), free(one.base);
}

/* Images into maps and out again; weights to where tiles read them. */
static void check_moves(const batch *b) {
    const int channels = draw(1, 4), height = draw(1, 5), width = draw(1, 9), area = height * width;
    const int count = b->images * channels * area, border = draw(0, 2);
    buffer x = new_maps(b, channels, height, width, border, 0);
    float *images = reals(count), *found = memory(count * sizeof *found, 8);
    int32_t *unusual = memory(b->chunks * b->isa->lanes * sizeof *unusual, 8);
    spb_train t = {.io = {images, channels * area, area, width, 1, found, 0, unusual}};
    train(b, (spb_op){.kind = SPB_LOAD}, &t, 0, &x, 0);
    expect_border(b, &x);
    train(b, (spb_op){.kind = SPB_STORE}, &t, &x, 0, 0);
    if (memcmp(images, found, count * sizeof *found)) fail(b->isa->name, "images in and out", b->index);
    const int all = draw(1, 9000), apart = draw(1, 3);
    int32_t *index = memory(all * sizeof *index, 8);
    float *to = reals((all - 1) * apart + 1);
    for (int i = 0; i < all; i++) index[i] = draw(-1, count - 1);
    t = (spb_train){.from = images, .index = index, .to = to, .count = all, .apart = apart};
    train(b, (spb_op){.kind = SPB_GATHER}, &t, 0, 0, 0);
    for (int i = 0; i < all; i++)
        if (to[i * apart] != (index[i] < 0 ? 0 : images[index[i]])) fail(b->isa->name, "gathered weights", b->index);
    free(images), free(found), free(unusual), free(index), free(to), free(x.base);
}

static void check_training(const layer *l, const spb_isa *isa, int index) {
    batch b = {isa, index, draw(1, 2 * isa->lanes), 0};
    b.chunks = (b.images + isa->lanes - 1) / isa->lanes;
    check_norm(&b), check_elementwise(&b), check_moves(&b);
    if (l->kind == SPB_SPARSE) check_kept(&b, l);
    if (l->kind == SPB_MAXPOOL || l->kind == SPB_AVGPOOL) check_pool(&b, l);
}
