/* Which kernels run here: asked of the processor at each call, so there is no state to set up. */
#include "kernels.h"

#include <string.h>

static bool runs_here(const struct weir_kernels *k)
{
#ifdef WEIR_X86_KERNELS
    if (k == &weir_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("popcnt");
    if (k == &weir_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#endif
    return k == &weir_kernels_scalar;
}

/* Fastest first. */
static const struct weir_kernels *const all[] = {
#ifdef WEIR_X86_KERNELS
    &weir_kernels_avx512,
    &weir_kernels_avx2,
#endif
    &weir_kernels_scalar,
};

enum { N_KERNELS = sizeof(all) / sizeof(all[0]) };

const struct weir_kernels *weir_kernels_best(void)
{
    for (size_t i = 0; i < N_KERNELS; i++)
        if (runs_here(all[i]))
            return all[i];
    return &weir_kernels_scalar; /* not reached: it is the last of them */
}

const struct weir_kernels *weir_kernels_named(const char *name)
{
    for (size_t i = 0; i < N_KERNELS; i++)
        if (strcmp(all[i]->name, name) == 0)
            return runs_here(all[i]) ? all[i] : NULL;
    return NULL;
}

const char *weir_kernels_name(const struct weir_kernels *kernels)
{
    return kernels->name;
}
