/* Batch normalisation in training, with what is added to it and its clamp, forward and backward.
 *
 * Forward: y = clamp(scale z + shift + r), the scale and shift of each channel from the batch's mean and variance. Backward,
 * with g the gradient behind the clamp and M values of a channel: the gradients of offset and gain are sum(g) and
 * sum(g (z - mean)) / deviation, and that of z is scale (g - sum(g) / M - (z - mean) sum(g (z - mean)) / (M variance)).
 */

/* The end of a run of columns that lies in one strip of three maps (of those that are there). */
static int common_end(const spb_map *a, const spb_map *b, const spb_map *c, int w, int width) {
    int end = strip_end(a, w, width);
    if (b->data) end = strip_end(b, w, end);
    if (c->data) end = strip_end(c, w, end);
    return end;
}

INLINE float sum1(vec v) {
    float s = 0;
    UNROLL for (int i = 0; i < V; i++) s += v[i];
    return s;
}

/* Images of a chunk. */
static int images_of(const spb_train *t, int chunk) {
    const int left = t->images - chunk * N;
    return left < N ? left : N;
}

typedef int32_t lanes_mask __attribute__((vector_size(4 * V)));

/* All bits set in the lanes that hold an image. */
INLINE lanes_mask there(int u, int images) {
    lanes_mask m;
    UNROLL for (int i = 0; i < V; i++) m[i] = u * V + i < images ? -1 : 0;
    return m;
}

INLINE vec chosen(lanes_mask m, vec v) { return (vec)(m & (lanes_mask)v); }

/* The gradient where a clamp was open; it is where the value is a NaN, as in torch. */
INLINE vec opened(vec g, vec value, vec low, vec high) {
    const lanes_mask closed = (lanes_mask)(value <= low) | (lanes_mask)(value >= high);
    return (vec)(~closed & (lanes_mask)g);
}

/* Sums of a map's row, of x and of its squares, in doubles; the floats are summed less the row's first value. */
static void sums_item(const spb_op *op, int h, int chunk) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x;
    const int images = images_of(t, chunk);
    double *sums = t->sums + ((int64_t)chunk * x->height + h) * x->channels * 2;
    for (int c = 0; c < x->channels; c++) {
        const float first = *(const float *)(x->data + h * x->row + c * x->ch);
        const vec centre = splat(first);
        vec one[U], two[U];
        for (int u = 0; u < U; u++) one[u] = two[u] = splat(0);
        for (int w = 0, end; w < x->width; w = end) {
            end = strip_end(x, w, x->width);
            const char *in = x->data + h * x->row + c * x->ch + column(x, w);
            vec one2[U], two2[U]; /* two chains */
            for (int u = 0; u < U; u++) one2[u] = two2[u] = splat(0);
            int i = w;
            for (; i + 1 < end; i += 2, in += 2 * N * 4)
                UNROLL for (int u = 0; u < U; u++) {
                    const vec a = *(const vec *)(in + u * VB) - centre, b = *(const vec *)(in + (U + u) * VB) - centre;
                    one[u] += a, two[u] += a * a;
                    one2[u] += b, two2[u] += b * b;
                }
            if (i < end) UNROLL for (int u = 0; u < U; u++) {
                const vec a = *(const vec *)(in + u * VB) - centre;
                one[u] += a, two[u] += a * a;
            }
            UNROLL for (int u = 0; u < U; u++) one[u] += one2[u], two[u] += two2[u];
        }
        double s1 = 0, s2 = 0;
        for (int u = 0; u < U; u++) {
            const lanes_mask m = there(u, images);
            s1 += sum1(chosen(m, one[u])), s2 += sum1(chosen(m, two[u]));
        }
        const double n = (double)images * x->width;
        sums[2 * c] = s1 + n * first, sums[2 * c + 1] = s2 + 2 * first * s1 + n * first * first;
    }
}

static void total(const spb_train *t, int rows, int channels, int c, double *s1, double *s2) {
    *s1 = *s2 = 0;
    for (int64_t i = 0; i < (int64_t)rows * t->batches; i++) {
        *s1 += t->sums[(i * channels + c) * 2];
        *s2 += t->sums[(i * channels + c) * 2 + 1];
    }
}

enum { CHANNELS = 16 }; /* of an item that goes over a batch's sums */

static void moments_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x;
    const double count = (double)t->images * x->height * x->width;
    for (int c = index * CHANNELS; c < (index + 1) * CHANNELS && c < x->channels; c++) {
        double mean, variance;
        if (t->fixed) {
            mean = t->running_mean[c], variance = t->running_var[c];
        } else {
            double s1, s2;
            total(t, x->height, x->channels, c, &s1, &s2);
            mean = s1 / count, variance = s2 / count - mean * mean;
            if (variance < 0) variance = 0;
            if (t->running_mean) {
                t->running_mean[c] = (float)((1 - (double)t->momentum) * t->running_mean[c] + t->momentum * mean);
                t->running_var[c] = (float)((1 - (double)t->momentum) * t->running_var[c] +
                                            t->momentum * variance * count / (count - 1));
            }
        }
        const double inverse = 1 / sqrt(variance + t->epsilon), gain = t->gain ? t->gain[c] : 1;
        t->mean[c] = (float)mean, t->inverse[c] = (float)inverse;
        t->scale[c] = (float)(gain * inverse);
        t->shift[c] = (float)((t->offset ? t->offset[c] : 0) - mean * gain * inverse);
    }
}

static void norm_item(const spb_op *op, int h) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x, *y = &op->y, *r = &op->r;
    const vec low = splat(op->low), high = splat(op->high);
    for (int w = 0, end; w < y->width; w = end) {
        end = common_end(x, y, r, w, y->width);
        const char *in = x->data + h * x->row + column(x, w), *add = r->data ? r->data + h * r->row + column(r, w) : 0;
        char *out = y->data + h * y->row + column(y, w);
        const int n = (end - w) * U;
        for (int c = 0; c < y->channels; c++, in += x->ch, out += y->ch, add += add ? r->ch : 0) {
            const vec scale = splat(t->scale[c]), shift = splat(t->shift[c]);
            const vec *a = (const vec *)in, *b = (const vec *)add;
            vec *o = (vec *)out;
            if (b)
                for (int i = 0; i < n; i++) o[i] = clamp(a[i] * scale + shift + b[i], low, high);
            else
                for (int i = 0; i < n; i++) o[i] = clamp(a[i] * scale + shift, low, high);
        }
    }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

/* x: the gradient of the output; r: the output, or nothing where the clamp is seen from z; y: where the gradient behind
 * the clamp goes, if anywhere. */
static void norm_sums_item(const spb_op *op, int h, int chunk) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x, *y = &op->y, *r = &op->r, *z = &t->z;
    const char *zs = z->data + chunk * t->z_step;
    const vec low = splat(op->low), high = splat(op->high);
    const int channels = x->channels;
    double *sums = t->sums + ((int64_t)chunk * x->height + h) * channels * 2;
    memset(sums, 0, channels * 2 * sizeof *sums);
    for (int w = 0, end; w < x->width; w = end) {
        end = common_end(x, r, z, w, x->width);
        const char *in = x->data + h * x->row + column(x, w), *of = zs + h * z->row + column(z, w);
        const char *value = r->data ? r->data + h * r->row + column(r, w) : 0;
        char *out = y->data ? y->data + h * y->row + column(y, w) : 0;
        const int n = (end - w) * U;
        for (int c = 0; c < channels; c++, in += x->ch, of += z->ch) {
            const vec scale = splat(t->scale[c]), shift = splat(t->shift[c]), mean = splat(t->mean[c]);
            const vec *a = (const vec *)in, *b = (const vec *)of, *v = (const vec *)value;
            vec *o = (vec *)out, one = splat(0), two = splat(0);
            if (t->from_input)
                for (int i = 0; i < n; i++) {
                    const vec g = opened(a[i], b[i] * scale + shift, low, high);
                    one += g, two += g * (b[i] - mean);
                }
            else
                for (int i = 0; i < n; i++) {
                    const vec g = v ? opened(a[i], v[i], low, high) : a[i];
                    one += g, two += g * (b[i] - mean);
                    if (o) o[i] = g;
                }
            sums[2 * c] += sum1(one), sums[2 * c + 1] += sum1(two);
            if (value) value += r->ch;
            if (out) out += y->ch;
        }
    }
}

static void norm_slopes_item(const spb_op *op, int index) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x;
    const double count = (double)t->images * x->height * x->width;
    for (int c = index * CHANNELS; c < (index + 1) * CHANNELS && c < x->channels; c++) {
        double s1, s2;
        total(t, x->height, x->channels, c, &s1, &s2);
        const double inverse = t->inverse[c], scale = t->scale[c];
        if (t->gain_gradient) t->gain_gradient[c] = (float)(s2 * inverse);
        if (t->offset_gradient) t->offset_gradient[c] = (float)s1;
        t->slope[c] = t->fixed ? 0 : (float)(-scale * inverse * inverse * s2 / count);
        t->level[c] = t->fixed ? 0 : (float)(-scale * s1 / count);
    }
}

/* x: the gradient, behind the clamp or (from_input) of the output; y: the gradient of z. */
static void norm_back_item(const spb_op *op, int h, int chunk) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x, *y = &op->y, *z = &t->z;
    const char *zs = z->data + chunk * t->z_step;
    const vec low = splat(op->low), high = splat(op->high);
    const int images = images_of(t, chunk), whole = images == N;
    for (int w = 0, end; w < y->width; w = end) {
        end = common_end(x, y, z, w, y->width);
        const char *in = x->data + h * x->row + column(x, w), *of = zs + h * z->row + column(z, w);
        char *out = y->data + h * y->row + column(y, w);
        const int n = (end - w) * U;
        for (int c = 0; c < y->channels; c++, in += x->ch, of += z->ch, out += y->ch) {
            const vec scale = splat(t->scale[c]), shift = splat(t->shift[c]), mean = splat(t->mean[c]);
            const vec slope = splat(t->slope[c]), level = splat(t->level[c]);
            const vec *a = (const vec *)in, *b = (const vec *)of;
            vec *o = (vec *)out;
            if (t->from_input)
                for (int i = 0; i < n; i++) {
                    const vec g = opened(a[i], b[i] * scale + shift, low, high);
                    o[i] = scale * g + (slope * (b[i] - mean) + level);
                }
            else
                for (int i = 0; i < n; i++) o[i] = scale * a[i] + (slope * (b[i] - mean) + level);
            if (!whole)
                for (int i = 0; i < n; i++) o[i] = chosen(there(i % U, images), o[i]);
        }
    }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

/* x: the gradient; r: the clamped value; y: the gradient behind the clamp. */
static void mask_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y, *r = &op->r;
    const vec low = splat(op->low), high = splat(op->high);
    for (int c = 0; c < y->channels; c++)
        for (int w = 0; w < y->width; w++) {
            const vec *a = (const vec *)(x->data + h * x->row + c * x->ch + column(x, w));
            const vec *v = (const vec *)(r->data + h * r->row + c * r->ch + column(r, w));
            vec *o = (vec *)(y->data + h * y->row + c * y->ch + column(y, w));
            for (int u = 0; u < U; u++) o[u] = opened(a[u], v[u], low, high);
        }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}
