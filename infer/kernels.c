/* Which kernels run here: asked of the processor at each call, so there is no state to set up. */
#include "kernels.h"

#include <stdbool.h>
#include <string.h>

static bool runs_here(const struct math_kernels *k)
{
#ifdef WEIR_X86_KERNELS
    if (k == &math_kernels_avx512bf16)
        return __builtin_cpu_supports("avx512bf16") && runs_here(&math_kernels_avx512);
    if (k == &math_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
    if (k == &math_kernels_avx2)
        /* F16C came two years before AVX2; clang 14 cannot ask for it */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return k == &math_kernels_scalar;
}

/* Fastest first; behind "scalar", which runs everywhere, what is not chosen but by its name. */
static const struct math_kernels *const all[] = {
#ifdef WEIR_X86_KERNELS
    &math_kernels_avx512,
    &math_kernels_avx2,
#endif
    &math_kernels_scalar,
#ifdef WEIR_X86_KERNELS
    &math_kernels_avx512bf16,
#endif
};

enum { N_KERNELS = sizeof(all) / sizeof(all[0]) };

const struct math_kernels *math_kernels_best(void)
{
    for (size_t i = 0; i < N_KERNELS; i++)
        if (runs_here(all[i]))
            return all[i];
    return &math_kernels_scalar; /* not reached: it is the last of them */
}

const struct math_kernels *math_kernels_named(const char *name)
{
    for (size_t i = 0; i < N_KERNELS; i++)
        if (strcmp(all[i]->name, name) == 0)
            return runs_here(all[i]) ? all[i] : NULL;
    return NULL;
}

const struct math_kernels *math_kernels_exact(const struct math_kernels *k)
{
#ifdef WEIR_X86_KERNELS
    if (k == &math_kernels_avx512bf16)
        return &math_kernels_avx512;
#endif
    return k;
}
