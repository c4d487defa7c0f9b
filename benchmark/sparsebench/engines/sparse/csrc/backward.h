/* The backward passes of pools and means, of strides, and which training operation is done by what. */

/* x, one row of it, added to every second column of a row of y. */
static void spread_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y;
    const int s = op->stride, h2 = h * s + op->train->shift_h;
    for (int c = 0; c < y->channels; c++)
        for (int w = 0; w < x->width; w++) {
            const vec *a = (const vec *)(x->data + h * x->row + c * x->ch + column(x, w));
            vec *o = (vec *)(y->data + h2 * y->row + c * y->ch + column(y, w * s + op->train->shift_w));
            for (int u = 0; u < U; u++) o[u] += a[u];
        }
}

static void fill_item(const spb_op *op, int h) {
    const spb_map *y = &op->y;
    const int64_t strips = (y->width + y->strip - 1) / y->strip;
    memset(y->data + h * y->row, 0, y->strip < y->width ? strips * y->step : y->row);
}

/* Where a pool's output (h, w) looks: rows and columns of its input. */
typedef struct {
    int h0, h1, w0, w1;
    float scale; /* of an average */
} window;

static window window_at(const spb_op *op, const spb_map *in, int h, int w) {
    const int top = h * op->stride - op->pad_top, bottom = top + op->kernel_h;
    const int left = w * op->stride - op->pad_left, right = left + op->kernel_w;
    window at = {top < 0 ? 0 : top, bottom < in->height ? bottom : in->height,
                 left < 0 ? 0 : left, right < in->width ? right : in->width, 0};
    const int inside = at.h1 > at.h0 && at.w1 > at.w0 ? (at.h1 - at.h0) * (at.w1 - at.w0) : 0;
    const int limit_h = bottom < op->limit_h ? bottom : op->limit_h, limit_w = right < op->limit_w ? right : op->limit_w;
    at.scale = 1.0f / (op->outside ? inside : (limit_h - top) * (limit_w - left));
    return at;
}

/* x: the gradient of the output; y: of the input, zeros before; r: the input, and z the output (maximum). A channel. */
static void pool_back_item(const spb_op *op, int c, int chunk, int is_max) {
    const spb_train *t = op->train;
    const spb_map *x = &op->x, *y = &op->y, *r = &op->r, *z = &t->z;
    const char *zs = is_max ? z->data + chunk * t->z_step : 0;
    for (int h = 0; h < x->height; h++)
        for (int w = 0; w < x->width; w++) {
            const window at = window_at(op, y, h, w);
            const vec *g = (const vec *)(x->data + h * x->row + c * x->ch + column(x, w));
            for (int u = 0; u < U; u++) {
                lanes_mask left = ~(lanes_mask){0}; /* the first of equal values has the gradient */
                const vec most = is_max ? *(const vec *)(zs + h * z->row + c * z->ch + column(z, w) + u * VB) : splat(0);
                for (int i = at.h0; i < at.h1; i++)
                    for (int j = at.w0; j < at.w1; j++) {
                        vec *o = (vec *)(y->data + i * y->row + c * y->ch + column(y, j) + u * VB);
                        if (is_max) {
                            const vec v = *(const vec *)(r->data + i * r->row + c * r->ch + column(r, j) + u * VB);
                            const lanes_mask here = (lanes_mask)(v == most) & left;
                            *o += chosen(here, g[u]);
                            left &= ~here;
                        } else
                            *o += g[u] * at.scale;
                    }
            }
        }
}

/* y: each position has its share of x, the gradient of a mean. */
static void mean_back_item(const spb_op *op, int h) {
    const spb_map *x = &op->x, *y = &op->y;
    const vec scale = splat(1.0f / (y->height * y->width));
    for (int c = 0; c < y->channels; c++)
        for (int w = 0; w < y->width; w++) {
            const vec *a = (const vec *)(x->data + c * x->ch);
            vec *o = (vec *)(y->data + h * y->row + c * y->ch + column(y, w));
            for (int u = 0; u < U; u++) o[u] = a[u] * scale;
        }
    zero_columns(y, y->data + h * y->row, 1, 0, y->channels);
}

static int train_items(const spb_op *op) {
    switch (op->kind) {
    case SPB_GATHER:
    case SPB_KEPT_SUM: return ceil_div(op->train->count, RUN);
    case SPB_SUMS:
    case SPB_NORM_SUMS:
    case SPB_SPREAD: return op->x.height;
    case SPB_MOMENTS:
    case SPB_NORM_SLOPES:
    case SPB_BIAS: return ceil_div(op->x.channels, CHANNELS);
    case SPB_KEPT: return op->train->bands * op->parts;
    case SPB_MAXPOOL_BACK:
    case SPB_AVGPOOL_BACK: return op->y.channels;
    case SPB_STORE: return 1;
    default: return op->y.height;
    }
}

static void train_item(const spb_op *op, int index, int chunk) {
    switch (op->kind) {
    case SPB_GATHER: gather_item(op, index); break;
    case SPB_LOAD:
    case SPB_STORE: {
        spb_io io = op->train->io;
        io.input += (int64_t)chunk * N * io.stride_n;
        io.output += (int64_t)chunk * N * op->x.channels * op->x.height * op->x.width;
        io.unusual += chunk * N;
        io.count = images_of(op->train, chunk);
        if (op->kind == SPB_LOAD) pack_item(op, index, &io);
        else unpack(op, &io);
        break;
    }
    case SPB_SUMS: sums_item(op, index, chunk); break;
    case SPB_MOMENTS: moments_item(op, index); break;
    case SPB_NORM: norm_item(op, index); break;
    case SPB_NORM_SUMS: norm_sums_item(op, index, chunk); break;
    case SPB_NORM_SLOPES: norm_slopes_item(op, index); break;
    case SPB_NORM_BACK: norm_back_item(op, index, chunk); break;
    case SPB_MASK: mask_item(op, index); break;
    case SPB_KEPT: kept_item(op, index); break;
    case SPB_KEPT_SUM: kept_sum_item(op, index); break;
    case SPB_BIAS: bias_item(op, index); break;
    case SPB_SPREAD: spread_item(op, index); break;
    case SPB_FILL: fill_item(op, index); break;
    case SPB_MAXPOOL_BACK: pool_back_item(op, index, chunk, 1); break;
    case SPB_AVGPOOL_BACK: pool_back_item(op, index, chunk, 0); break;
    case SPB_MEAN_BACK: mean_back_item(op, index); break;
    default: break;
    }
}
