/* Qwen3: ChatML whose answers have thoughts, which are kept only behind the last question. */
#include <string.h>

#include "chat_private.h"

struct piece {
    const char *bytes;
    size_t n;
};

static struct piece without_newlines(struct piece p, bool left, bool right)
{
    while (left && p.n > 0 && p.bytes[0] == '\n') {
        p.bytes++;
        p.n--;
    }
    while (right && p.n > 0 && p.bytes[p.n - 1] == '\n')
        p.n--;
    return p;
}

/* What is in front of the first `mark`; the whole if there is none. */
static struct piece before_first(struct piece p, const char *mark)
{
    const char *hit = memmem(p.bytes, p.n, mark, strlen(mark));
    return hit ? (struct piece){p.bytes, (size_t)(hit - p.bytes)} : p;
}

/* What is behind the last `mark`; the whole if there is none. */
static struct piece behind_last(struct piece p, const char *mark)
{
    size_t n = strlen(mark);
    for (const char *hit; (hit = memmem(p.bytes, p.n, mark, n));) {
        p.n -= (size_t)(hit - p.bytes) + n;
        p.bytes = hit + n;
    }
    return p;
}

static bool begins_with(struct piece p, const char *mark)
{
    return p.n >= strlen(mark) && memcmp(p.bytes, mark, strlen(mark)) == 0;
}

static bool ends_with(struct piece p, const char *mark)
{
    size_t n = strlen(mark);
    return p.n >= n && memcmp(p.bytes + p.n - n, mark, n) == 0;
}

static size_t last_question(const struct chat_writer *w)
{
    for (size_t i = w->n; i-- > 0;) {
        struct piece p = {w->message[i].content, w->message[i].n};
        bool tool = begins_with(p, "<tool_response>") && ends_with(p, "</tool_response>");
        if (chat_is(&w->message[i], "user") && !tool)
            return i;
    }
    return w->n - 1;
}

static void say_piece(struct chat_writer *w, struct piece p)
{
    chat_say_bytes(w, p.bytes, p.n);
}

static void say_answer(struct chat_writer *w, size_t i, bool with_thoughts)
{
    static const char end_of_thoughts[] = "</think>";
    struct piece all = {w->message[i].content, w->message[i].n}, answer = all, thoughts = {"", 0};
    if (memmem(all.bytes, all.n, end_of_thoughts, strlen(end_of_thoughts))) {
        answer = without_newlines(behind_last(all, end_of_thoughts), true, false);
        thoughts = without_newlines(before_first(all, end_of_thoughts), false, true);
        thoughts = without_newlines(behind_last(thoughts, "<think>"), true, false);
    }
    chat_say(w, "<|im_start|>assistant\n");
    if (with_thoughts && (i + 1 == w->n || thoughts.n > 0)) {
        chat_say(w, "<think>\n");
        say_piece(w, without_newlines(thoughts, true, true));
        chat_say(w, "\n</think>\n\n");
        answer = without_newlines(answer, true, false);
    }
    say_piece(w, answer);
    chat_say(w, "<|im_end|>\n");
}

void chat_write_qwen3(struct chat_writer *w)
{
    size_t question = last_question(w);
    for (size_t i = 0; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "assistant")) {
            say_answer(w, i, i > question);
            continue;
        }
        chat_say(w, "<|im_start|>");
        chat_say(w, m->role);
        chat_say(w, "\n");
        chat_say_content(w, m);
        chat_say(w, "<|im_end|>\n");
    }
    if (!w->around->add_generation_prompt)
        return;
    chat_say(w, "<|im_start|>assistant\n");
    if (w->around->no_thinking)
        chat_say(w, "<think>\n\n</think>\n\n");
}
