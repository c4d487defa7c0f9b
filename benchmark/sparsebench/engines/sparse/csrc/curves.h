/* Activations that are no clamps, on vectors. exp: the power of two apart, a Taylor polynomial for the rest. erf: a
 * Chebyshev fit of erf(z) / z in z squared up to EDGE, beyond which erf is 1 in single precision. Errors below 1e-6 of
 * the largest value around; a NaN passes through.
 */
#define EDGE 3.92f

typedef int32_t ivec __attribute__((vector_size(4 * V)));

INLINE vec exponential(vec x) {
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits */
    x = clamp(x, splat(-87.0f), splat(88.0f));
    const vec t = x * splat(1.44269504f) + magic, n = t - magic;
    const vec r = x - n * splat(0.693145752f) - n * splat(1.42860677e-6f); /* ln 2, of which the first part is short */
    vec p = splat(1.0f / 5040);
    p = p * r + splat(1.0f / 720);
    p = p * r + splat(1.0f / 120);
    p = p * r + splat(1.0f / 24);
    p = p * r + splat(1.0f / 6);
    p = p * r + splat(0.5f);
    p = p * r + splat(1);
    p = p * r + splat(1);
    return (vec)((ivec)p + ((ivec)t << 23));
}

INLINE vec sigmoid(vec x) { return splat(1) / (splat(1) + exponential(-x)); }

INLINE vec error_function(vec z) {
    static const float fit[] = {
        0.360736817f, -0.180108652f, 0.134084165f, -0.10917782f, 0.0906043276f, -0.0740383416f,
        0.0583450794f, -0.0433319546f, 0.0298629906f, -0.0202942323f, 0.0139374565f, -7.21074e-03f,
        2.140245e-03f, -1.7343245e-03f, 2.029423e-03f, -7.424015e-04f,
    };
    z = clamp(z, splat(-EDGE), splat(EDGE));
    const vec u = z * z * splat(2 / (EDGE * EDGE)) - splat(1);
    vec p = splat(fit[15]);
    UNROLL for (int i = 14; i >= 0; i--) p = p * u + splat(fit[i]);
    return p * z;
}

INLINE vec curve(const int kind, vec x, vec slope) {
    switch (kind) {
    case SPB_SIGMOID: return sigmoid(x);
    case SPB_HARDSIGMOID: return clamp(x + splat(3), splat(0), splat(6)) * splat(1.0f / 6);
    case SPB_SILU: return x * sigmoid(slope * x);
    case SPB_HARDSWISH: return x * (clamp(x + splat(3), splat(0), splat(6)) * splat(1.0f / 6));
    case SPB_GELU: /* below -6 it is zero, to less than 1e-7 */
        x = clamp(x, splat(-6), splat(INFINITY));
        return x * splat(0.5f) * (splat(1) + error_function(x * splat(0.70710678f)));
    case SPB_GELU_TANH: /* 0.5 (1 + tanh y) is sigmoid(2 y) */
        return x * sigmoid(splat(1.59576912f) * (x + splat(0.044715f) * x * x * x));
    default: return x;
    }
}

/* Apply the curve to `count` vectors that were just written. Never inlined: tiles stay small. */
static __attribute__((noinline)) void finish(const spb_op *op, char *at, int count) {
    const vec slope = splat(op->slope);
    switch (op->curve) {
#define CURVE(kind)                                                                                                \
    case kind:                                                                                                     \
        for (int t = 0; t < count; t++, at += VB) *(vec *)at = curve(kind, *(vec *)at, slope);                     \
        break;
        CURVE(SPB_SIGMOID)
        CURVE(SPB_HARDSIGMOID)
        CURVE(SPB_SILU)
        CURVE(SPB_HARDSWISH)
        CURVE(SPB_GELU)
        CURVE(SPB_GELU_TANH)
#undef CURVE
    default: break;
    }
}
