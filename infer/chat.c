#include "chat_private.h"

#include <string.h>

#include "utf8.h"

static const char smollm[] = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
static const char qwen[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

static const struct weir_chat chats[] = {
    {.name = "llama2", .write = chat_write_llama2},
    {.name = "llama3", .write = chat_write_llama3},
    {.name = "llama3.1", .write = chat_write_llama31},
    {.name = "llama3.2", .write = chat_write_llama31},
    {.name = "chatml", .write = chat_write_chatml},
    {.name = "qwen2", .write = chat_write_chatml, .system = "You are a helpful assistant."},
    {.name = "qwen2.5", .write = chat_write_chatml, .system = qwen},
    {.name = "qwen3", .write = chat_write_qwen3},
    {.name = "qwen3-2507", .write = chat_write_chatml},
    {.name = "smollm2", .write = chat_write_chatml, .system = smollm},
    {.name = "mistral-v0.1", .write = chat_write_mistral, .end = " "},
    {.name = "mistral-v0.2", .write = chat_write_mistral, .end = ""},
    {.name = "mistral-v1", .write = chat_write_mistral_v1},
    {.name = "mistral-v3", .write = chat_write_mistral_v3, .user = "[INST] ", .assistant = " "},
    {.name = "mistral-v3-tekken", .write = chat_write_mistral_v3, .user = "[INST]"},
    {.name = "gemma", .write = chat_write_gemma, .begins = true},
    {.name = "gemma-bare", .write = chat_write_gemma},
    {.name = "gemma3", .write = chat_write_gemma3},
    {.name = "phi3", .write = chat_write_phi3},
    {.name = "phi3.5", .write = chat_write_phi3, .system = ""},
    {.name = "phi3-mini-first", .write = chat_write_prompted, .begins = true},
    {.name = "phi3-medium-first", .write = chat_write_prompted},
    {.name = "phi3-small", .write = chat_write_tagged, .end = "\n", .begins = true},
    {.name = "phi4", .write = chat_write_phi4},
    {.name = "phi4-first", .write = chat_write_phi4, .user = "<|im_start|>assistant<|im_sep|>"},
    {.name = "phi4-mini", .write = chat_write_tagged, .end = ""},
    {.name = "zephyr", .write = chat_write_tagged},
};

enum {
    N_CHATS = sizeof(chats) / sizeof(chats[0]),
};

const struct weir_chat *weir_chat_named(const char *name)
{
    for (size_t i = 0; i < N_CHATS; i++)
        if (strcmp(chats[i].name, name) == 0)
            return &chats[i];
    return NULL;
}

const char *weir_chat_name(size_t i)
{
    return i < N_CHATS ? chats[i].name : NULL;
}

static uint64_t fnv(const char *text, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
    return h;
}

weir_err weir_chat_recognise(const char *text, size_t n, const struct weir_chat **out,
                             struct weir_diag *diag)
{
    if (n > 0 && text[n - 1] == '\n')
        n--;
    uint64_t hash = fnv(text, n);
    const struct chat_text *known;
    for (size_t i = 0; (known = chat_known(i))->name; i++)
        if (known->n == n && known->hash == hash) {
            *out = weir_chat_named(known->name);
            return WEIR_OK;
        }
    weir_diag_set(diag,
                  "the model's chat template (%zu bytes) is not a known one; use --raw, or "
                  "--chat-template NAME if it is one of these in other words",
                  n);
    return WEIR_ERR_UNSUPPORTED;
}

/* ---- to write with ---- */

void chat_refuse(struct chat_writer *w, weir_err err, const char *why)
{
    if (w->err)
        return;
    w->err = err;
    weir_diag_set(w->diag, "the chat template %s: %s", w->chat->name, why);
}

void chat_say_bytes(struct chat_writer *w, const char *bytes, size_t n)
{
    if (!w->err)
        w->err = weir_text_add(w->out, bytes, n);
}

void chat_say(struct chat_writer *w, const char *text)
{
    if (text)
        chat_say_bytes(w, text, strlen(text));
}

/* Python's str.isspace() also takes the four separators of ASCII. */
static bool is_space(struct utf8 c)
{
    return c.good && (utf8_is_space(c.point) || (c.point >= 0x1c && c.point <= 0x1f));
}

void chat_say_stripped(struct chat_writer *w, const struct weir_chat_message *m)
{
    size_t from = 0, end = m->n;
    while (from < end) {
        struct utf8 c = utf8_next(m->content + from, end - from);
        if (!is_space(c))
            break;
        from += c.n;
    }
    while (end > from) {
        size_t back = 1;
        while (back < end - from && back < UTF8_MAX && (m->content[end - back] & 0xc0) == 0x80)
            back++;
        struct utf8 c = utf8_next(m->content + end - back, back);
        if (!is_space(c) || c.n != back)
            break;
        end -= back;
    }
    chat_say_bytes(w, m->content + from, end - from);
}

bool chat_is(const struct weir_chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

bool chat_alternates(struct chat_writer *w, size_t from, const char *why)
{
    for (size_t i = from; i < w->n; i++)
        if (chat_is(&w->message[i], "user") != ((i - from) % 2 == 0)) {
            chat_refuse(w, WEIR_ERR_INVALID, why);
            return false;
        }
    return true;
}

weir_err weir_chat_render(const struct weir_chat *chat, const struct weir_chat_around *around,
                          const struct weir_chat_message *messages, size_t n, struct weir_text *out,
                          struct weir_diag *diag)
{
    struct chat_writer w = {chat, around, messages, n, out, diag, WEIR_OK};
    size_t before = out->n;
    if (n == 0)
        chat_refuse(&w, WEIR_ERR_INVALID, "there are no messages");
    for (size_t i = 0; i < n; i++) {
        const struct weir_chat_message *m = &messages[i];
        if (!chat_is(m, "system") && !chat_is(m, "user") && !chat_is(m, "assistant"))
            chat_refuse(&w, WEIR_ERR_INVALID, "a role is not system, user or assistant");
    }
    if (!w.err)
        chat->write(&w);
    if (w.err)
        out->n = before;
    return w.err;
}
