#include "backoff.h"

uint32_t backoff_ms(uint32_t base_ms, unsigned n_failed, uint32_t random)
{
    uint64_t ms = base_ms;
    for (unsigned i = 1; i < n_failed && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    uint64_t half = ms / 2;
    return (uint32_t)(half + ((ms - half) * random >> 32));
}

uint32_t backoff_random(uint64_t *state)
{
    /* xorshift64* */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (uint32_t)(x * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}
