/* The tables of codec/perm8.h, worked out again from the two sentences in its comment. */
#include "perm8.h"

#include <criterion/criterion.h>

static unsigned lane_of(uint32_t shuffle, unsigned i)
{
    return shuffle >> (4 * i) & 15;
}

static unsigned n_below(unsigned mask, unsigned bit)
{
    unsigned n = 0;
    for (unsigned i = 0; i < bit; i++)
        n += mask >> i & 1;
    return n;
}

Test(perm8, expand_takes_as_many_elements_as_bits_below)
{
    for (unsigned mask = 0; mask < 256; mask++)
        for (unsigned i = 0; i < 8; i++)
            cr_assert_eq(lane_of(expand8[mask], i), n_below(mask, i), "mask %02x lane %u", mask, i);
}

Test(perm8, collect_moves_marked_lanes_to_the_end)
{
    for (unsigned mask = 0; mask < 256; mask++) {
        unsigned wanted[8] = {0}, at = 8 - n_below(mask, 8);
        for (unsigned lane = 0; lane < 8; lane++)
            if (mask >> lane & 1)
                wanted[at++] = lane;
        for (unsigned i = 0; i < 8; i++)
            cr_assert_eq(lane_of(collect8[mask], i), wanted[i], "mask %02x element %u", mask, i);
    }
}
