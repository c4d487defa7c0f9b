/* The kernels of csrc/tokens.h, and products, on random small maps, against plain loops. */

typedef struct {
    int kind, channels, height, width, positions; /* of x */
    int outputs, oh, ow;
    int stride, kh, kw, top, left, shift, heads, one; /* one: the factor has one position */
    float *x, *r, *weight, *bias, *constant;          /* x: [count][channels][height][width] */
} token_layer;

static double token_input(const token_layer *l, int n, int c, int p) {
    return l->x[(n * l->channels + c) * l->height * l->width + p];
}

static double normed(const token_layer *l, int n, int c, int p) {
    double mean = 0, spread = 0;
    for (int k = 0; k < l->channels; k++) mean += token_input(l, n, k, p) / l->channels;
    for (int k = 0; k < l->channels; k++) spread += pow(token_input(l, n, k, p) - mean, 2) / l->channels;
    return (token_input(l, n, c, p) - mean) / sqrt(spread + 1e-3) * l->weight[c] + l->bias[c];
}

static double attended(const token_layer *l, int n, int c, int p) {
    const int size = l->outputs / l->heads, first = c / size * size;
    double sum = 0, total = 0;
    for (int k = 0; k < l->positions; k++) {
        double score = 0;
        for (int d = 0; d < size; d++)
            score += token_input(l, n, first + d, p) * token_input(l, n, l->outputs + first + d, k);
        total += exp(0.5 * score);
        sum += exp(0.5 * score) * token_input(l, n, 2 * l->outputs + c, k);
    }
    return sum / total;
}

static double token_output(const token_layer *l, int n, int c, int h, int w) {
    const int p = h * l->ow + w, window = l->kh * l->kw;
    switch (l->kind) {
    case SPB_SCALE: return token_input(l, n, c, p) * l->r[(n * l->outputs + c) * (l->one ? 1 : l->oh * l->ow) + (l->one ? 0 : p)];
    case SPB_LAYERNORM: return normed(l, n, c, p);
    case SPB_ATTENTION: return attended(l, n, c, p);
    case SPB_TOKENS: {
        const int q = p - l->shift;
        return (q < 0 || q >= l->positions ? 0 : token_input(l, n, c, q)) + l->constant[(h * l->outputs + c) * l->ow + w];
    }
    default: {
        const int i = h * l->stride - l->top + c % window / l->kw, j = w * l->stride - l->left + c % l->kw;
        if (i < 0 || j < 0 || i >= l->height || j >= l->width) return 0;
        return token_input(l, n, c / window, i * l->width + j);
    }
    }
}

static token_layer new_token_layer(int kind) {
    token_layer l = {.kind = kind, .stride = 1, .kh = 1, .kw = 1, .heads = 1};
    l.height = draw(1, 5), l.width = draw(1, 12), l.outputs = l.channels = draw(1, 9);
    if (kind == SPB_ATTENTION)
        l.heads = draw(1, 3), l.outputs = l.heads * draw(1, 7), l.channels = 3 * l.outputs;
    l.oh = l.height, l.ow = l.width, l.one = draw(0, 1);
    l.positions = kind == SPB_TOKENS || kind == SPB_ATTENTION ? draw(1, l.height * l.width) : l.height * l.width;
    if (kind == SPB_TOKENS) l.oh = draw(1, 5), l.ow = draw(1, 8), l.shift = draw(-4, 4);
    if (kind == SPB_UNFOLD) {
        l.stride = draw(1, 5), l.kh = draw(1, 4), l.kw = draw(1, 4), l.top = draw(0, 2), l.left = draw(0, 2);
        l.outputs = l.channels * l.kh * l.kw;
        l.oh = (l.height + l.top) / l.stride + 1, l.ow = (l.width + l.left) / l.stride + 1;
    }
    return l;
}

static void check_tokens(const spb_isa *isa, int index) {
    const int kinds[] = {SPB_SCALE, SPB_LAYERNORM, SPB_TOKENS, SPB_ATTENTION, SPB_UNFOLD}, lanes = isa->lanes;
    token_layer l = new_token_layer(kinds[draw(0, 4)]);
    const int count = draw(1, lanes), places = l.oh * l.ow, cut = draw(0, 1);
    const int valid = l.kind == SPB_ATTENTION ? l.positions : places; /* what lies behind the tokens means nothing */
    l.x = reals(count * l.channels * l.height * l.width), l.r = reals(count * l.outputs * places);
    l.weight = reals(l.outputs), l.bias = reals(l.outputs), l.constant = reals(l.outputs * places);
    buffer x = new_map(l.channels, l.height, l.width, 0, lanes, draw(0, 1) ? draw(1, l.width) : 0);
    buffer y = new_map(l.outputs, l.oh, l.ow, cut ? 0 : draw(0, 2), lanes, cut ? draw(1, l.ow) : 0);
    buffer r = new_map(l.outputs, l.one ? 1 : l.oh, l.one ? 1 : l.ow, 0, lanes, 0);
    fill(teams[0], isa, &x, l.x, count, 0);
    fill(teams[0], isa, &r, l.r, count, 0);
    float *found = memory((size_t)count * l.outputs * places * sizeof *found, 8);
    spb_io io = {.output = found, .count = count};
    spb_op ops[3];
    int n = add_zero(ops, &y.map), wrong = 0;
    ops[n++] = (spb_op){
        .kind = l.kind, .stride = l.stride, .x = x.map, .y = y.map, .low = -INFINITY, .high = INFINITY, .parts = 1,
        .kernel_h = l.kh, .kernel_w = l.kw, .pad_top = l.top, .pad_left = l.left, .weights = l.weight, .bias = l.bias,
        .heads = l.heads, .positions = l.positions, .shift = l.shift, .eps = 1e-3f, .scale = 0.5f,
    };
    if (l.kind == SPB_SCALE) ops[n - 1].r = r.map;
    if (l.kind == SPB_TOKENS) ops[n - 1].constant = l.constant;
    ops[n++] = (spb_op){.kind = SPB_UNPACK, .x = y.map};
    if (spb_run(teams[index % TEAMS], isa, ops, n, &io)) fail(isa->name, "no memory", index);
    for (int i = 0; i < count * l.outputs * places; i++) {
        const int p = i % places;
        if (p >= valid) continue;
        const double e = token_output(&l, i / places / l.outputs, i / places % l.outputs, p / l.ow, p % l.ow);
        wrong += !(fabs(found[i] - e) <= 1e-4 * (1 + fabs(e)));
    }
    const char *names[] = {"a product", "a layer norm", "tokens", "an attention", "an unfolded window"};
    if (wrong) fail(isa->name, names[l.kind - SPB_SCALE], index);
    if (!padded(&y, lanes)) fail(isa->name, "the output's padding", index);
    free(l.x), free(l.r), free(l.weight), free(l.bias), free(l.constant), free(found), free(x.base), free(y.base), free(r.base);
}
