/* Pairs of output channels that share what they both have a weight for: such an input is loaded once for two
 * multiply-adds. A chain is then in the order of (block, shared weights, own weights), the blocks being the layer's, not
 * the tuning's. For layers in which many weights are left: a processor with two loads and two multiply-adds a cycle
 * doesn't keep up with a load for each of them.
 */

/* Keep a value in a register: the compiler would load it again for each use. */
#if defined(__AVX512F__)
#define KEEP(v) __asm__("" : "+v"(v))
#elif defined(__SSE__)
#define KEEP(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define KEEP(v) __asm__("" : "+w"(v))
#else
#define KEEP(v) (void)(v)
#endif

INLINE void pair_tile(const int T, const spb_op *op, int block, int p0, int p1, const char *x, char *y, const char *r,
                      spb_ahead *ahead) {
    const int channels = op->y.channels, first = block == 0, last = block == op->blocks - 1;
    const int32_t *both = op->both_starts + (int64_t)block * ((channels + 1) / 2 + 1);
    const int32_t *starts = op->starts + (int64_t)block * (channels + 1);
    const int64_t yc = op->y.ch, rc = op->r.ch;
    for (int p = p0; p < p1; p++) {
        const int c = 2 * p, members = c + 1 < channels ? 2 : 1;
        char *out = y + c * yc;
        const char *add = r ? r + c * rc : 0;
        ask_inputs(op, ahead);
        if (first && c + 1 + AHEAD < channels) UNROLL for (int m = 0; m < 2; m++) {
            if (r != y) ask_outputs(out + (m + AHEAD) * yc, T);
            if (r) ask_residuals(add + (m + AHEAD) * rc, T);
        }
        vec a[2][14];
        UNROLL for (int m = 0; m < 2; m++) {
            const int there = m < members;
            UNROLL for (int t = 0; t < T; t++)
                a[m][t] = !there  ? splat(0)
                          : first ? start(op->bias[c + m], add ? add + m * rc + t * VB : 0)
                                  : *(const vec *)(out + m * yc + t * VB);
        }
        for (const spb_both *e = op->both + both[p], *end = op->both + both[p + 1]; e < end; e++) {
            const char *in = x + e->offset;
            vec w0 = splat(e->value[0]), w1 = splat(e->value[1]);
            KEEP(w0);
            KEEP(w1);
            UNROLL for (int t = 0; t < T; t++) {
                vec v = *(const vec *)(in + t * VB);
                KEEP(v);
                a[0][t] += w0 * v;
                a[1][t] += w1 * v;
            }
        }
        UNROLL for (int m = 0; m < 2; m++) {
            if (m >= members) break;
            for (const spb_entry *e = op->entries + starts[c + m], *end = op->entries + starts[c + m + 1]; e < end; e++) {
                const char *in = x + e->offset;
                const vec w = splat(e->value);
                UNROLL for (int t = 0; t < T; t++) a[m][t] += w * *(const vec *)(in + t * VB);
            }
            if (last) activate(T, op, a[m]);
            UNROLL for (int t = 0; t < T; t++) *(vec *)(out + m * yc + t * VB) = a[m][t];
            if (last && op->curve) finish(op, out + m * yc, T);
        }
    }
}
