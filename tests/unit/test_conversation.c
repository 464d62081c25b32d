/* A conversation as the ids that a model is given: what is added, taken back and forgotten, and
 * what ends an answer.  Tests a private header (cli/conversation.h). */
#include "conversation.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "fail_alloc.h"
#include "model_kit.h"

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

enum { NORMAL = 1, CONTROL = 3, BYTE = 6, START = 3, END = 4, FIRST_LETTER = 5, N_TOKENS = 31 };

/* chatml's two tokens, and letters; all else is unknown. */
static struct weir_tokenizer *make_tokenizer(void)
{
    static const struct weir_gguf_string first[FIRST_LETTER] = {S("<unk>"), S("<s>"), S("</s>"),
                                                                S("<|im_start|>"), S("<|im_end|>")};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct weir_gguf_string tokens[N_TOKENS];
    float scores[N_TOKENS] = {0};
    int32_t types[N_TOKENS] = {2, CONTROL, CONTROL, CONTROL, CONTROL};
    struct weir_tokenizer *t;
    memcpy(tokens, first, sizeof(first));
    for (int i = 0; i < 26; i++) {
        tokens[FIRST_LETTER + i] = (struct weir_gguf_string){&letters[i], 1};
        types[FIRST_LETTER + i] = NORMAL;
    }
    const struct weir_gguf_vocab v = {.model = "llama",
                                      .tokens = tokens,
                                      .n_tokens = N_TOKENS,
                                      .scores = scores,
                                      .types = types,
                                      .bos = 1,
                                      .eos = 2,
                                      .unk = 0};
    struct weir_diag diag = {""};
    cr_assert_eq(weir_tokenizer_from_gguf(&v, &t, &diag), WEIR_OK, "%s", diag.text);
    return t;
}

struct fixture {
    struct kit k;
    struct conversation c;
    struct weir_tokenizer *t;
    struct weir_ids ids;
};

static weir_err open_it(struct fixture *f, const char *name, bool raw)
{
    kit_make(&f->k, KIT_FOLDER("llama"), NULL, NULL);
    cr_assert_eq(kit_open(&f->k), WEIR_OK, "%s", f->k.diag.text);
    f->t = make_tokenizer();
    return conversation_open(&f->c, f->k.ck, name, raw, &f->k.diag);
}

static void close_it(struct fixture *f)
{
    conversation_close(&f->c);
    weir_ids_free(&f->ids);
    weir_tokenizer_free(f->t);
    kit_free(&f->k);
}

static void say(struct fixture *f, const char *role, const char *text)
{
    cr_assert_eq(conversation_add(&f->c, role, text, strlen(text)), WEIR_OK);
}

static char name_of(uint32_t id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    if (id == START)
        return '<';
    if (id == END)
        return '>';
    if (id >= FIRST_LETTER)
        return letters[id - FIRST_LETTER];
    return '_';
}

/* Letters as they are, "<" for im_start, ">" for im_end, "_" for all else. */
static void expect_ids(struct fixture *f, const char *wanted)
{
    char found[512];
    size_t n = 0;
    weir_err err = conversation_ids(&f->c, f->t, &f->ids, &f->k.diag);
    cr_assert_eq(err, WEIR_OK, "%s", f->k.diag.text);
    for (size_t i = 0; i < f->ids.n && n + 1 < sizeof(found); i++)
        found[n++] = name_of(f->ids.id[i]);
    found[n] = 0;
    cr_expect_str_eq(found, wanted);
}

Test(conversation, is_written_by_the_template)
{
    struct fixture f = {0};
    cr_assert_eq(open_it(&f, "chatml", false), WEIR_OK, "%s", f.k.diag.text);
    say(&f, "system", "be");
    say(&f, "user", "hi");
    expect_ids(&f, "<system_be>_<user_hi>_<assistant_");
    say(&f, "assistant", "ho");
    say(&f, "user", "so");
    expect_ids(&f, "<system_be>_<user_hi>_<assistant_ho>_<user_so>_<assistant_");
    conversation_take_back(&f.c);
    say(&f, "user", "no");
    expect_ids(&f, "<system_be>_<user_hi>_<assistant_ho>_<user_no>_<assistant_");
    close_it(&f);
}

/* The first question and its answer go, what was said before all stays, and the last question. */
Test(conversation, forgets_from_the_front)
{
    static const char *const systems[] = {NULL, "be"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = {0};
        char text[8];
        cr_assert_eq(open_it(&f, "chatml", false), WEIR_OK);
        if (systems[i])
            say(&f, "system", systems[i]);
        cr_assert_not(conversation_forget(&f.c)); /* nothing yet */
        for (int q = 0; q < 40; q++) {            /* more than there is room for at first */
            (void)snprintf(text, sizeof(text), "q%c", 'a' + q % 26);
            say(&f, "user", text);
            cr_assert_eq(conversation_forget(&f.c), q > 0);
            if (q == 0)
                expect_ids(&f, systems[i] ? "<system_be>_<user_qa>_<assistant_"
                                          : "<user_qa>_<assistant_");
            say(&f, "assistant", "x");
        }
        conversation_take_back(&f.c);
        expect_ids(&f, systems[i] ? "<system_be>_<user_qn>_<assistant_" : "<user_qn>_<assistant_");
        cr_assert_not(conversation_forget(&f.c));
        close_it(&f);
    }
}

Test(conversation, without_a_template_all_is_one_text)
{
    struct fixture f = {0};
    uint32_t id;
    bool found = true;
    cr_assert_eq(open_it(&f, NULL, true), WEIR_OK, "%s", f.k.diag.text);
    expect_ids(&f, "");
    say(&f, "user", "ab");
    say(&f, "assistant", "");
    say(&f, "user", "cd");
    expect_ids(&f, "abcd");
    cr_assert_eq(conversation_end(&f.c, f.t, &id, &found, &f.k.diag), WEIR_OK);
    cr_assert_not(found);
    close_it(&f);
}

Test(conversation, knows_what_ends_an_answer)
{
    struct fixture f = {0};
    uint32_t id = 0;
    bool found = false;
    cr_assert_eq(open_it(&f, "chatml", false), WEIR_OK);
    cr_assert_eq(conversation_end(&f.c, f.t, &id, &found, &f.k.diag), WEIR_OK);
    cr_assert(found && id == END, "%u", id);
    close_it(&f);
}

Test(conversation, names_what_there_is)
{
    struct fixture none = {0}, unknown = {0};
    cr_assert_eq(open_it(&none, NULL, false), WEIR_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(none.k.diag.text, "--raw"), "%s", none.k.diag.text);
    close_it(&none);
    cr_assert_eq(open_it(&unknown, "nothing", false), WEIR_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(unknown.k.diag.text, "chatml"), "%s", unknown.k.diag.text);
    close_it(&unknown);
}

/* What is there stays as it was. */
Test(conversation, every_allocation_may_fail)
{
    struct fixture f = {0};
    cr_assert_eq(open_it(&f, "chatml", false), WEIR_OK);
    for (int n = 0;; n++) {
        fail_alloc_at(n);
        weir_err err = conversation_add(&f.c, "user", "hi", 2);
        fail_alloc_at(-1);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM);
        cr_assert_eq(f.c.n, 0);
        cr_assert_lt(n, 10);
    }
    for (int n = 0;; n++) {
        fail_alloc_at(n);
        weir_err err = conversation_ids(&f.c, f.t, &f.ids, &f.k.diag);
        fail_alloc_at(-1);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM);
        cr_assert_lt(n, 100);
    }
    expect_ids(&f, "<user_hi>_<assistant_");
    close_it(&f);
}
