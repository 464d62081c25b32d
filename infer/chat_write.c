/* The ways of writing.  What is odd in them is odd in the templates. */
#include <string.h>

#include "chat_private.h"

static const char turns[] = "Conversation roles must alternate user/assistant/user/assistant/...";
static const char turns_after[] = "After the optional system message, conversation roles must "
                                  "alternate user/assistant/user/assistant/...";

static bool begins_with_system(const struct chat_writer *w)
{
    return chat_is(&w->message[0], "system");
}

/* ---- Llama ---- */

/* The system message and what the user says first are stripped together. */
static void say_llama2(struct chat_writer *w, const struct weir_chat_message *system,
                       const struct weir_chat_message *user)
{
    struct weir_text text = {0};
    struct chat_writer inner = {.out = &text, .err = w->err};
    if (system) {
        chat_say(&inner, "<<SYS>>\n");
        chat_say_content(&inner, system);
        chat_say(&inner, "\n<</SYS>>\n\n");
    }
    chat_say_content(&inner, user);
    w->err = inner.err;
    chat_say_stripped(w, &(struct weir_chat_message){.content = text.bytes, .n = text.n});
    weir_text_free(&text);
}

void chat_write_llama2(struct chat_writer *w)
{
    const struct weir_chat_message *system = begins_with_system(w) ? &w->message[0] : NULL;
    size_t first = system ? 1 : 0;
    if (!chat_alternates(w, first, turns))
        return;
    for (size_t i = first; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "user")) {
            chat_say(w, w->around->bos);
            chat_say(w, "[INST] ");
            say_llama2(w, i == first ? system : NULL, m);
            chat_say(w, " [/INST]");
        } else if (chat_is(m, "assistant")) {
            chat_say(w, " ");
            chat_say_stripped(w, m);
            chat_say(w, " ");
            chat_say(w, w->around->eos);
        }
    }
}

static void say_llama3(struct chat_writer *w, const struct weir_chat_message *m)
{
    chat_say(w, "<|start_header_id|>");
    chat_say(w, m->role);
    chat_say(w, "<|end_header_id|>\n\n");
    chat_say_stripped(w, m);
    chat_say(w, "<|eot_id|>");
}

static void prompt_llama3(struct chat_writer *w)
{
    if (w->around->add_generation_prompt)
        chat_say(w, "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

void chat_write_llama3(struct chat_writer *w)
{
    chat_say(w, w->around->bos);
    for (size_t i = 0; i < w->n; i++)
        say_llama3(w, &w->message[i]);
    prompt_llama3(w);
}

void chat_write_llama31(struct chat_writer *w)
{
    size_t first = begins_with_system(w) ? 1 : 0;
    chat_say(w, w->around->bos);
    chat_say(w, "<|start_header_id|>system<|end_header_id|>\n\n"
                "Cutting Knowledge Date: December 2023\nToday Date: ");
    chat_say(w, w->around->date ? w->around->date : "26 Jul 2024");
    chat_say(w, "\n\n");
    if (first == 1)
        chat_say_stripped(w, &w->message[0]);
    chat_say(w, "<|eot_id|>");
    for (size_t i = first; i < w->n; i++)
        say_llama3(w, &w->message[i]);
    prompt_llama3(w);
}

/* ---- ChatML ---- */

static void say_chatml(struct chat_writer *w, const char *role, const char *content, size_t n)
{
    chat_say(w, "<|im_start|>");
    chat_say(w, role);
    chat_say(w, "\n");
    chat_say_bytes(w, content, n);
    chat_say(w, "<|im_end|>\n");
}

static void prompt_chatml(struct chat_writer *w)
{
    if (w->around->add_generation_prompt)
        chat_say(w, "<|im_start|>assistant\n");
}

/* chat->system: said in front of a conversation without one. */
void chat_write_chatml(struct chat_writer *w)
{
    if (w->chat->system && !begins_with_system(w))
        say_chatml(w, "system", w->chat->system, strlen(w->chat->system));
    for (size_t i = 0; i < w->n; i++)
        say_chatml(w, w->message[i].role, w->message[i].content, w->message[i].n);
    prompt_chatml(w);
}

/* ---- Mistral ---- */

/* chat->end: behind eos. */
void chat_write_mistral(struct chat_writer *w)
{
    chat_say(w, w->around->bos);
    if (!chat_alternates(w, 0, turns))
        return;
    for (size_t i = 0; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "system")) {
            chat_refuse(w, WEIR_ERR_INVALID, "Only user and assistant roles are supported!");
        } else if (chat_is(m, "user")) {
            chat_say(w, "[INST] ");
            chat_say_content(w, m);
            chat_say(w, " [/INST]");
        } else {
            chat_say_content(w, m);
            chat_say(w, w->around->eos);
            chat_say(w, w->chat->end);
        }
    }
}

static void refuse_second_system(struct chat_writer *w)
{
    chat_refuse(w, WEIR_ERR_INVALID,
                "Only user and assistant roles are supported, with the exception of an initial "
                "optional system message!");
}

/* The system message in front of what the user says first. */
void chat_write_mistral_v1(struct chat_writer *w)
{
    size_t first = begins_with_system(w) ? 1 : 0;
    chat_say(w, w->around->bos);
    if (!chat_alternates(w, first, turns_after))
        return;
    for (size_t i = first; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "system")) {
            refuse_second_system(w);
        } else if (chat_is(m, "user")) {
            chat_say(w, " [INST] ");
            if (i == 1 && first == 1) {
                chat_say_content(w, &w->message[0]);
                chat_say(w, "\n\n");
            }
            chat_say_content(w, m);
            chat_say(w, " [/INST]");
        } else {
            chat_say(w, " ");
            chat_say_content(w, m);
            chat_say(w, w->around->eos);
        }
    }
}

/* The system message in front of what the user says last, if that is the last message.
 * chat->user in front of a user's, chat->assistant of an answer, which is stripped if there is. */
void chat_write_mistral_v3(struct chat_writer *w)
{
    size_t first = begins_with_system(w) ? 1 : 0;
    if (!chat_alternates(w, first, turns_after))
        return;
    chat_say(w, w->around->bos);
    for (size_t i = first; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "system")) {
            refuse_second_system(w);
        } else if (chat_is(m, "user")) {
            chat_say(w, w->chat->user);
            if (i + 1 == w->n && first == 1) {
                chat_say_content(w, &w->message[0]);
                chat_say(w, "\n\n");
            }
            chat_say_content(w, m);
            chat_say(w, "[/INST]");
        } else {
            chat_say(w, w->chat->assistant);
            if (w->chat->assistant)
                chat_say_stripped(w, m);
            else
                chat_say_content(w, m);
            chat_say(w, w->around->eos);
        }
    }
}

/* ---- Gemma ---- */

static void say_gemma(struct chat_writer *w, const struct weir_chat_message *m,
                      const struct weir_chat_message *prefix)
{
    chat_say(w, "<start_of_turn>");
    chat_say(w, chat_is(m, "assistant") ? "model" : m->role);
    chat_say(w, "\n");
    if (prefix) {
        chat_say_content(w, prefix);
        chat_say(w, "\n\n");
    }
    chat_say_stripped(w, m);
    chat_say(w, "<end_of_turn>\n");
}

static void prompt_gemma(struct chat_writer *w)
{
    if (w->around->add_generation_prompt)
        chat_say(w, "<start_of_turn>model\n");
}

void chat_write_gemma(struct chat_writer *w)
{
    if (w->chat->begins)
        chat_say(w, w->around->bos);
    if (begins_with_system(w))
        chat_refuse(w, WEIR_ERR_INVALID, "System role not supported");
    if (!chat_alternates(w, 0, turns))
        return;
    for (size_t i = 0; i < w->n; i++)
        say_gemma(w, &w->message[i], NULL);
    prompt_gemma(w);
}

void chat_write_gemma3(struct chat_writer *w)
{
    size_t first = begins_with_system(w) ? 1 : 0;
    chat_say(w, w->around->bos);
    if (!chat_alternates(w, first, turns))
        return;
    for (size_t i = first; i < w->n; i++)
        say_gemma(w, &w->message[i], i == 1 && first == 1 ? &w->message[0] : NULL);
    prompt_gemma(w);
}

/* ---- Phi and Zephyr ---- */

static void say_tag(struct chat_writer *w, const char *role)
{
    chat_say(w, "<|");
    chat_say(w, role);
    chat_say(w, "|>");
}

/* Every role in a tag.  chat->end: what is behind tags and "<|end|>"; NULL: newlines, and eos
 * instead of "<|end|>". */
void chat_write_tagged(struct chat_writer *w)
{
    const char *line = w->chat->end ? w->chat->end : "\n";
    bool zephyr = !w->chat->end;
    if (w->chat->begins)
        chat_say(w, w->around->bos);
    for (size_t i = 0; i < w->n; i++) {
        say_tag(w, w->message[i].role);
        chat_say(w, line);
        chat_say_content(w, &w->message[i]);
        chat_say(w, zephyr ? w->around->eos : "<|end|>");
        chat_say(w, line);
    }
    if (w->around->add_generation_prompt) {
        chat_say(w, "<|assistant|>");
        chat_say(w, line);
    } else if (!zephyr) {
        chat_say(w, w->around->eos);
    }
}

/* chat->system: a system message without text is passed over. */
void chat_write_phi3(struct chat_writer *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (w->chat->system && chat_is(m, "system") && m->n == 0)
            continue;
        say_tag(w, m->role);
        chat_say(w, "\n");
        chat_say_content(w, m);
        chat_say(w, "<|end|>\n");
    }
    chat_say(w, w->around->add_generation_prompt ? "<|assistant|>\n" : w->around->eos);
}

/* The prompt follows each thing that the user says; system messages are passed over. */
void chat_write_prompted(struct chat_writer *w)
{
    if (w->chat->begins)
        chat_say(w, w->around->bos);
    for (size_t i = 0; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (chat_is(m, "system"))
            continue;
        if (chat_is(m, "user"))
            chat_say(w, "<|user|>\n");
        chat_say_content(w, m);
        chat_say(w, "<|end|>\n");
        if (chat_is(m, "user"))
            chat_say(w, "<|assistant|>\n");
    }
}

/* chat->user: the prompt behind each thing that the user says, and nowhere else. */
void chat_write_phi4(struct chat_writer *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct weir_chat_message *m = &w->message[i];
        if (!w->chat->user || !chat_is(m, "assistant")) {
            chat_say(w, "<|im_start|>");
            chat_say(w, m->role);
            chat_say(w, "<|im_sep|>");
        }
        chat_say_content(w, m);
        chat_say(w, "<|im_end|>");
        if (chat_is(m, "user"))
            chat_say(w, w->chat->user);
    }
    if (w->around->add_generation_prompt && !w->chat->user)
        chat_say(w, "<|im_start|>assistant<|im_sep|>");
}
