/* Floats from stdin, and to stdout, in memory as the kernels want it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *zeros(long count) {
    float *memory = aligned_alloc(64, (size_t)(4 * count + 63) / 64 * 64);
    memset(memory, 0, (size_t)(4 * count));
    return memory;
}

static float *given(long count) {
    float *memory = zeros(count);
    if (fread(memory, 4, (size_t)count, stdin) != (size_t)count) exit(2);
    return memory;
}

static void give(const float *values, long count) { fwrite(values, 4, (size_t)count, stdout); }
