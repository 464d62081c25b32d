/* Conversations as text: what transformers gives for the published templates (tests/infer/). */
#include "chat_private.h"

#include <stdio.h>

#include "codec/jsontree.h"
#include "tokenizer_files.h"

#include "fail_alloc.h"

enum {
    MAX_MESSAGES = 16,
};

static const struct weir_chat_around around = {.bos = "<BOS>", .eos = "<EOS>"};

static uint64_t fnv(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return h;
}

static size_t to_messages(const json_t *conversation, struct weir_chat_message *messages)
{
    size_t n = json_array_size(conversation);
    cr_assert_leq(n, MAX_MESSAGES);
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(conversation, i);
        const json_t *content = json_array_get(message, 1);
        messages[i].role = json_string_value(json_array_get(message, 0));
        messages[i].content = json_string_value(content);
        messages[i].n = json_string_length(content);
    }
    return n;
}

static void check_line(const char *line, const json_t *conversations)
{
    struct weir_chat_message messages[MAX_MESSAGES];
    struct weir_chat_around how = around;
    struct weir_text text = {0};
    struct weir_diag diag = {""};
    size_t number, conversation, n_bytes;
    unsigned prompt;
    int read = 0;
    unsigned long hash;
    cr_assert_eq(sscanf(line, "%zu %zu %u %n", &number, &conversation, &prompt, &read), 3);
    how.add_generation_prompt = prompt != 0;
    const char *name = chat_known(number)->name;
    size_t n = to_messages(json_array_get(conversations, conversation), messages);
    weir_err err = weir_chat_render(weir_chat_named(name), &how, messages, n, &text, &diag);
    if (sscanf(line + read, "%zu %lx", &n_bytes, &hash) == 2) {
        cr_expect_eq(err, WEIR_OK, "%s: %s: %s", name, line, diag.text);
        cr_expect(text.n == n_bytes && fnv(text.bytes, text.n) == hash, "%s: %s: \"%.*s\"", name,
                  line, (int)text.n, text.bytes);
    } else {
        cr_expect_eq(err, WEIR_ERR_INVALID, "%s: %s: \"%.*s\"", name, line, (int)text.n,
                     text.bytes);
        cr_expect_gt(strlen(diag.text), 0);
        cr_expect_eq(text.n, 0);
    }
    weir_text_free(&text);
}

Test(chat, is_what_transformers_gives)
{
    size_t n, n_golden, n_lines = 0;
    char *json = read_file(WEIR_TESTS "/infer/conversations.json", &n);
    char *golden = read_file(WEIR_TESTS "/infer/chat_goldens.txt", &n_golden);
    struct weir_jsontree tree = {0};
    cr_assert(json && golden);
    cr_assert_eq(weir_jsontree_read(json, n, WEIR_JSONTREE_USUAL, &tree), WEIR_OK);
    char *rest = golden;
    for (char *line; (line = strsep(&rest, "\n")) && *line; n_lines++)
        check_line(line, json_object_get(tree.root, "conversations"));
    cr_expect_gt(n_lines, 1000);
    weir_jsontree_free(&tree);
    free(golden);
    free(json);
}

/* ---- by hand ---- */

#define M(role, content)                                                                           \
    {                                                                                              \
        role, content, sizeof(content) - 1                                                         \
    }

Test(chat, reads_well)
{
    static const struct weir_chat_message messages[] = {M("system", "Be terse."), M("user", "Hi"),
                                                        M("assistant", "Yo"), M("user", "Bye")};
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"llama2", "<BOS>[INST] <<SYS>>\nBe terse.\n<</SYS>>\n\nHi [/INST] Yo <EOS><BOS>[INST] Bye "
                   "[/INST]"},
        {"qwen2.5", "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                    "<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
                    "<|im_start|>assistant\n"},
        {"gemma3",
         "<BOS><start_of_turn>user\nBe terse.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
         "Yo<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"},
        {"llama3.2", "<BOS><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: "
                     "December 2023\nToday Date: 01 Jan 2030\n\nBe terse.<|eot_id|>"
                     "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                     "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>"
                     "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
                     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"zephyr", "<|system|>\nBe terse.<EOS>\n<|user|>\nHi<EOS>\n<|assistant|>\nYo<EOS>\n"
                   "<|user|>\nBye<EOS>\n<|assistant|>\n"},
    };
    struct weir_chat_around how = around;
    how.add_generation_prompt = true;
    how.date = "01 Jan 2030";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_text text = {0};
        cr_assert_eq(
            weir_chat_render(weir_chat_named(cases[i].name), &how, messages, 4, &text, NULL),
            WEIR_OK);
        cr_expect(text.n == strlen(cases[i].text) && memcmp(text.bytes, cases[i].text, text.n) == 0,
                  "%s: %.*s", cases[i].name, (int)text.n, text.bytes);
        weir_text_free(&text);
    }
}

Test(chat, can_be_told_not_to_think)
{
    static const struct weir_chat_message messages[] = {M("user", "Hi")};
    static const char wanted[] =
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n"
        "</think>\n\n";
    struct weir_chat_around how = {.add_generation_prompt = true, .no_thinking = true};
    struct weir_text text = {0};
    cr_assert_eq(weir_chat_render(weir_chat_named("qwen3"), &how, messages, 1, &text, NULL),
                 WEIR_OK);
    cr_expect_eq(text.n, strlen(wanted));
    cr_expect_arr_eq(text.bytes, wanted, strlen(wanted));
    weir_text_free(&text);
}

Test(chat, refuses_what_it_cannot_say)
{
    static const struct weir_chat_message tool[] = {M("user", "Hi"), M("tool", "42")};
    struct weir_text text = {0};
    struct weir_diag diag = {""};
    const struct weir_chat *chat = weir_chat_named("chatml");
    cr_assert_eq(weir_text_add(&text, "kept", 4), WEIR_OK);
    cr_expect_eq(weir_chat_render(chat, &around, tool, 0, &text, &diag), WEIR_ERR_INVALID);
    cr_expect_eq(weir_chat_render(chat, &around, tool, 2, &text, &diag), WEIR_ERR_INVALID);
    cr_expect_not_null(strstr(diag.text, "role"), "%s", diag.text);
    cr_expect_eq(text.n, 4);
    weir_text_free(&text);
}

Test(chat, survives_refused_memory)
{
    static char content[4096];
    static const struct weir_chat_message messages[] = {{"system", content, sizeof(content)},
                                                        {"user", content, sizeof(content)}};
    for (size_t i = 0; weir_chat_name(i); i++) {
        const struct weir_chat *chat = weir_chat_named(weir_chat_name(i));
        weir_err err = WEIR_ERR_NOMEM;
        for (int fail = 0; err == WEIR_ERR_NOMEM; fail++) {
            struct weir_text text = {0};
            fail_alloc_at(fail);
            err = weir_chat_render(chat, &around, messages, 2, &text, NULL);
            fail_alloc_at(-1);
            cr_expect(err != WEIR_ERR_NOMEM || text.n == 0);
            weir_text_free(&text);
        }
    }
}

/* ---- known texts ---- */

/* The list beside the goldens is the one in the code, and each has a name that can be given. */
Test(chat, knows_the_texts_of_the_list)
{
    size_t n, i = 0;
    char *list = read_file(WEIR_TESTS "/infer/known_chats.txt", &n);
    cr_assert_not_null(list);
    char *rest = list;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        size_t length;
        unsigned long hash;
        char name[64];
        if (*line == '#')
            continue;
        cr_assert_eq(sscanf(line, "%zu %lx %63s", &length, &hash, name), 3);
        const struct chat_text *known = chat_known(i++);
        cr_assert_not_null(known->name);
        cr_expect(known->n == length && known->hash == hash && strcmp(known->name, name) == 0, "%s",
                  line);
        cr_expect_not_null(weir_chat_named(name), "%s", name);
    }
    cr_expect_null(chat_known(i)->name);
    free(list);
}

/* Llama 3's, as transformers' documents show it; with and without a newline at the end. */
Test(chat, recognises_a_text)
{
    static const char text[] =
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
        "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "
        "trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
        "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}\n";
    const struct weir_chat *chat = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_chat_recognise(text, strlen(text), &chat, &diag), WEIR_OK);
    cr_expect_eq(chat, weir_chat_named("llama3"));
    cr_assert_eq(weir_chat_recognise(text, strlen(text) - 1, &chat, &diag), WEIR_OK);
    cr_expect_eq(weir_chat_recognise(text, strlen(text) - 2, &chat, &diag), WEIR_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(diag.text, "--raw"), "%s", diag.text);
    cr_expect_not_null(strstr(diag.text, "--chat-template"), "%s", diag.text);
    cr_expect_eq(weir_chat_recognise("", 0, &chat, &diag), WEIR_ERR_UNSUPPORTED);
    cr_expect_null(weir_chat_named("no such"));
}

/* ---- tokenizer_config.json ---- */

Test(chat, reads_a_config)
{
    static const struct {
        const char *json;
        weir_err err;
        const char *chat, *bos, *eos; /* NULL: none */
    } cases[] = {
        {"{}", WEIR_OK, NULL, NULL, NULL},
        {"{\"chat_template\":\"c\",\"bos_token\":\"b\",\"eos_token\":null,"
         "\"model_max_length\":1000000000000000019884624838656}",
         WEIR_OK, "c", "b", NULL},
        {"{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"},{\"name\":\"default\","
         "\"template\":\"d\"}],\"eos_token\":{\"content\":\"e\",\"special\":true}}",
         WEIR_OK, "d", NULL, "e"},
        {"{\"chat_template\":[]}", WEIR_OK, NULL, NULL, NULL},
        {"{\"chat_template\":7}", WEIR_ERR_CORRUPT, NULL, NULL, NULL},
        {"{\"bos_token\":[]}", WEIR_ERR_CORRUPT, NULL, NULL, NULL},
        {"[]", WEIR_ERR_CORRUPT, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weir_err err = WEIR_ERR_NOMEM;
        struct weir_chat_config config = {0};
        for (int fail = 0; err == WEIR_ERR_NOMEM; fail++) {
            fail_alloc_at(fail);
            err = weir_chat_config_read(cases[i].json, strlen(cases[i].json), &config, NULL);
            fail_alloc_at(-1);
        }
        const struct weir_text *found[] = {&config.chat_template, &config.bos, &config.eos};
        const char *wanted[] = {cases[i].chat, cases[i].bos, cases[i].eos};
        cr_expect_eq(err, cases[i].err, "%s", cases[i].json);
        for (size_t k = 0; k < 3; k++)
            cr_expect(wanted[k] ? found[k]->bytes && strcmp(found[k]->bytes, wanted[k]) == 0
                                : found[k]->n == 0,
                      "%s", cases[i].json);
        weir_chat_config_free(&config);
    }
}

static void check_config(const char *file, const char *name, const char *eos)
{
    size_t n;
    char path[512];
    struct weir_chat_config config = {0};
    const struct weir_chat *chat = NULL;
    snprintf(path, sizeof(path), WEIR_SHARED "/tokenizers/%s.tokenizer_config.json.zst", file);
    char *json = read_zst(path, &n);
    if (!json)
        cr_skip_test("no ../shared/tokenizers");
    cr_assert_eq(weir_chat_config_read(json, n, &config, NULL), WEIR_OK);
    cr_expect_eq(
        weir_chat_recognise(config.chat_template.bytes, config.chat_template.n, &chat, NULL),
        WEIR_OK);
    cr_expect_eq(chat, weir_chat_named(name));
    cr_expect_str_eq(config.eos.bytes, eos);
    weir_chat_config_free(&config);
    free(json);
}

Test(chat, recognises_published_files)
{
    check_config("llama3_1", "llama3", "<|eot_id|>");
    check_config("qwen3", "qwen3", "<|im_end|>");
}
