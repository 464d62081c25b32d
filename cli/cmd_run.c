/* cmd_run.c - text from a model, wherever it lies. */
#include "cmd_run.h"

static const struct cli_option options[] = {
    [RUN_PROMPT] = {'p', "prompt", "TEXT", "what the text begins with", false},
    [RUN_FILE] = {'f', "file", "FILE", "the same, from a file ('-': standard input)", false},
    [RUN_N] = {'n', "n-predict", "N", "stop after N tokens (default: 128)", false},
    [RUN_CONTEXT] = {'c', "ctx-size", "N", "tokens of prompt and answer (default: what -n takes)",
                     false},
    [RUN_THREADS] = {'t', "threads", "N", "use N threads (default: one per processor)", false},
    [RUN_CHUNK] = {'b', "batch-size", "N", "tokens of the prompt at once (default: 256)", false},
    [RUN_TEMPERATURE] = {0, "temp", "T", "0: always the likeliest token (default: 0.8)", false},
    [RUN_TOP_K] = {0, "top-k", "N", "choose among the N likeliest (default: 40; 0: all)", false},
    [RUN_TOP_P] = {0, "top-p", "P", "of these, those that make up P (default: 0.95)", false},
    [RUN_MIN_P] = {0, "min-p", "P", "and have P of the likeliest one's (default: 0.05)", false},
    [RUN_REPEAT_PENALTY] = {0, "repeat-penalty", "X",
                            "make the last 64 tokens less likely (default: 1, not)", false},
    [RUN_SEED] = {'s', "seed", "N", "of the choice (default: 0; the same gives the same)", false},
    [RUN_STOP] = {'r', "stop", "TEXT", "stop before TEXT", false},
    [RUN_IGNORE_EOS] = {0, "ignore-eos", NULL, "go on where the model would end", false},
    [RUN_KV_BF16] = {0, "kv-bf16", NULL, "keys and values in BF16: half the memory", false},
    [RUN_TOKENS] = {0, "tokens", NULL, "print the ids of tokens, not their text", false},
    [RUN_LOGITS] = {0, "logits", "FILE", "write the logits that tokens were chosen by (F32)",
                    false},
    [RUN_DIR] = {0, "dir", "DIR", "where in the store the model is, if it has several", false},
    [RUN_RAM] = {0, "ram", "BYTES", "of memory at most (default: what the machine has to spare)",
                 false},
    [RUN_KEEP] =
        {0, "keep", "FORM",
         "weights stay in memory as 'resident' (12 bits of BF16; default), 'plain', or not: "
         "'none'",
         false},
    {0},
};

const struct cmd cmd_run = {
    .name = "run",
    .operands = "STORE|URL|DIR|FILE",
    .summary = "Go on with a text, as a model would",
    .text =
        "The model is in a store (a file or a URL), in a directory, in a .safetensors or GGUF "
        "file, or\n"
        "where a store is mounted. The text goes to standard output as it comes, then one line "
        "about\n"
        "the run to standard error; with --json all of it is one object. Families: Llama, "
        "Mistral,\n"
        "Qwen2, Qwen3, Gemma 2 and 3 (text), Phi-3, with weights in F32, F16 or BF16; what is not\n"
        "known is refused. The same model and prompt give the same logits, bit for bit, with any\n"
        "number of threads, on any x86-64 processor, from any of these places.\n",
    .examples = "  weir run llama.weir -p 'Once upon a time' -n 200\n"
                "  weir run /mnt/model -p 'The capital of France is' --temp 0 --json\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_run,
};
