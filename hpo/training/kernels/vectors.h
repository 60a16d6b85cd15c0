/* Vectors of float32 as wide as the processor's, by the vector extensions of GCC and Clang. */
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* The first n floats; the rest is zero. */
INLINE vec load(const float *from, int n) {
    vec v = {};
    memcpy(&v, from, n == LANES ? sizeof(v) : 4 * (size_t)n);
    return v;
}
INLINE void store(float *to, vec v, int n) { memcpy(to, &v, n == LANES ? sizeof(v) : 4 * (size_t)n); }

INLINE vec pick(mask take, vec one, vec other) { return (vec)((take & (mask)one) | (~take & (mask)other)); }

INLINE vec root(vec v) {
#if defined(__AVX512F__)
    return (vec)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__)
    return (vec)_mm256_sqrt_ps((__m256)v);
#else
    for (int lane = 0; lane < LANES; lane++) v[lane] = __builtin_sqrtf(v[lane]);
    return v;
#endif
}

INLINE float total(vec v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float sum = 0.0f;
    for (int lane = 0; lane < LANES; lane++) sum += v[lane];
    return sum;
#endif
}

/* A value stays in its register: GCC would load it again in each instruction that uses it, twice where it crosses a
 * line. */
#if defined(__AVX512F__)
#define KEEP(v) __asm__("" : "+v"(v))
#elif defined(__AVX__)
#define KEEP(v) __asm__("" : "+x"(v))
#else
#define KEEP(v)
#endif
