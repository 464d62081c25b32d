/* Which token comes next, and how often. */
#include "infer/sample.h"

#include <criterion/criterion.h>
#include <math.h>

#include "fail_alloc.h"

enum { VOCAB = 6, DRAWS = 20000 };

/* Probabilities 0.4, 0.3, 0.2, 0.05, 0.05, 0 in an order of their own. */
static const float logits[VOCAB] = {-1.6094379F, -2.9957323F, -0.9162907F,
                                    -INFINITY,   -1.2039728F, -2.9957323F};

static struct weir_sampler *make(const struct weir_sampler_options *o)
{
    struct weir_sampler *s;
    cr_assert_eq(weir_sampler_new(VOCAB, o, &s), WEIR_OK);
    return s;
}

static void count(const struct weir_sampler_options *o, double share[VOCAB])
{
    struct weir_sampler *s = make(o);
    for (int i = 0; i < VOCAB; i++)
        share[i] = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint32_t id;
        cr_assert_eq(weir_sampler_next(s, logits, &id), WEIR_OK);
        cr_assert_lt(id, VOCAB);
        share[id] += 1.0 / DRAWS;
    }
    weir_sampler_free(s);
}

Test(sample, draws_by_probability)
{
    static const struct {
        struct weir_sampler_options options;
        double share[VOCAB];
    } cases[] = {
        {{.temperature = 0}, {0, 0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 1}, {0.2, 0.05, 0.4, 0, 0.3, 0.05}},
        {{.temperature = 1, .top_p = 1, .top_k = 1}, {0, 0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 1, .top_k = 3}, {0.2 / 0.9, 0, 0.4 / 0.9, 0, 0.3 / 0.9, 0}},
        {{.temperature = 1, .top_p = 0.65F}, {0, 0, 0.4 / 0.7, 0, 0.3 / 0.7, 0}},
        {{.temperature = 1, .top_p = 0}, {0, 0, 1, 0, 0, 0}},
        {{.temperature = 1, .top_p = 1, .min_p = 0.6F}, {0, 0, 0.4 / 0.7, 0, 0.3 / 0.7, 0}},
        {{.temperature = 1, .top_p = 1, .min_p = 9}, {0, 0, 1, 0, 0, 0}},
        {{.temperature = 0.5F, .top_p = 1, .top_k = 3},
         {0.04 / 0.29, 0, 0.16 / 0.29, 0, 0.09 / 0.29, 0}},
        {{.temperature = 1e-30F, .top_p = 1}, {0, 0, 1, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double share[VOCAB];
        count(&cases[i].options, share);
        for (size_t id = 0; id < VOCAB; id++)
            cr_expect_float_eq(share[id], cases[i].share[id], 0.015, "case %zu: id %zu is %f", i,
                               id, share[id]);
    }
}

Test(sample, seeds_repeat)
{
    struct weir_sampler_options o = {.temperature = 1, .top_p = 1, .seed = 7};
    struct weir_sampler *a = make(&o), *b = make(&o);
    o.seed = 8;
    struct weir_sampler *c = make(&o);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        uint32_t x, y, z;
        cr_assert(!weir_sampler_next(a, logits, &x) && !weir_sampler_next(b, logits, &y) &&
                  !weir_sampler_next(c, logits, &z));
        cr_assert_eq(x, y);
        differ += x != z;
    }
    cr_assert_gt(differ, 20);
    weir_sampler_free(a);
    weir_sampler_free(b);
    weir_sampler_free(c);
}

Test(sample, what_was_said_becomes_less_likely)
{
    static const float up[VOCAB] = {1, 2, 4, 3, -1, -2}, down[VOCAB] = {-3, -4, -1, -2, -8, -9};
    struct weir_sampler *s =
        make(&(struct weir_sampler_options){.repeat_penalty = 3, .repeat_last = 2});
    uint32_t id;
    cr_assert(!weir_sampler_next(s, up, &id) && id == 2);
    weir_sampler_accept(s, 2);
    weir_sampler_accept(s, 2); /* twice is penalised once */
    cr_assert(!weir_sampler_next(s, up, &id) && id == 3);
    cr_assert(!weir_sampler_next(s, down, &id) && id == 3);
    weir_sampler_accept(s, 3);
    weir_sampler_accept(s, UINT32_MAX);                   /* not in the vocabulary: nothing */
    cr_assert(!weir_sampler_next(s, up, &id) && id == 2); /* forgotten */
    weir_sampler_free(s);
}

Test(sample, takes_the_first_of_equals_and_no_nan)
{
    static const float equal[VOCAB] = {NAN, 1, 2, NAN, 2, -INFINITY};
    static const float none[VOCAB] = {NAN, NAN, -INFINITY, NAN, NAN, NAN};
    struct weir_sampler *greedy = make(&(struct weir_sampler_options){.temperature = 0});
    struct weir_sampler *hot = make(&(struct weir_sampler_options){.temperature = 1, .top_p = 1});
    uint32_t id;
    cr_assert(!weir_sampler_next(greedy, equal, &id) && id == 2);
    for (int i = 0; i < 100; i++)
        cr_assert(!weir_sampler_next(hot, equal, &id) && (id == 1 || id == 2 || id == 4));
    cr_assert_eq(weir_sampler_next(greedy, none, &id), WEIR_ERR_CORRUPT);
    cr_assert_eq(weir_sampler_next(hot, none, &id), WEIR_ERR_CORRUPT);
    weir_sampler_free(greedy);
    weir_sampler_free(hot);
}

Test(sample, refuses_nonsense_and_survives_no_memory)
{
    static const struct weir_sampler_options bad[] = {
        {.temperature = -1}, {.temperature = NAN},   {.top_p = -0.1F},
        {.min_p = INFINITY}, {.repeat_penalty = -1}, {.repeat_last = UINT32_MAX}};
    struct weir_sampler *s;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(weir_sampler_new(VOCAB, &bad[i], &s), WEIR_ERR_INVALID, "%zu", i);
    cr_expect_eq(weir_sampler_new(0, &(struct weir_sampler_options){0}, &s), WEIR_ERR_INVALID);
    for (int n = 0; n < 5; n++) {
        fail_alloc_at(n);
        weir_err err = weir_sampler_new(VOCAB, &(struct weir_sampler_options){0}, &s);
        fail_alloc_at(-1);
        cr_assert_eq(err, WEIR_ERR_NOMEM, "%d", n);
    }
}
