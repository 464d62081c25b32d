/* cmd_run.c - text from a model, wherever it lies. */
#include "cmd_run.h"

static const struct cli_option options[] = {
    [RUN_MODEL] = {'m', "model", "SRC", "the model, if it is no operand; given again, one more",
                   .repeats = true},
    [RUN_PROMPT] = {'p', "prompt", "TEXT", "what the text begins with; given again, one more text",
                    .repeats = true},
    [RUN_FILE] = {'f', "file", "FILE",
                  "the same, from a file ('-': standard input); of NAME.jsonl many", false},
    [RUN_CHAT] = {'i', "chat", NULL, "talk to it; with -p or -f: one answer", false},
    [RUN_SYS] = {0, "sys", "TEXT", "--chat, with this said first", false},
    [RUN_TEMPLATE] = {0, "chat-template", "NAME", "how a conversation is written, such as chatml",
                      false},
    [RUN_RAW] = {0, "raw", NULL, "--chat without a template: what is typed, as it is", false},
    [RUN_PERPLEXITY] = {0, "perplexity", "FILE", "how well the model foresees a text", false},
    [RUN_PLAN] = {0, "plan", NULL, "run nothing: say where weights would be, and how fast", false},
    [RUN_N] = {'n', "n-predict", "N",
               "stop after N tokens (default: 128; of a chat: 1024; -1: where it ends)", false},
    [RUN_CONTEXT] = {'c', "ctx-size", "N",
                     "tokens of prompt and answer (default: what -n takes; of a chat: 4096; of "
                     "--perplexity: 512)",
                     false},
    [RUN_THREADS] = {'t', "threads", "N", "use N threads (default: one per processor)", false},
    [RUN_BATCH] = {'b', "batch-size", "N", "prompts of a .jsonl file at once (default: 1)", false},
    [RUN_CHUNK] = {'u', "ubatch-size", "N",
                   "tokens of the prompt at once (default: 256; on a GPU: 512)", false},
    [RUN_TEMPERATURE] = {0, "temp", "T", "0: always the likeliest token (default: 0.8)", false},
    [RUN_TOP_K] = {0, "top-k", "N", "choose among the N likeliest (default: 40; 0: all)", false},
    [RUN_TOP_P] = {0, "top-p", "P", "of these, those that make up P (default: 0.95)", false},
    [RUN_MIN_P] = {0, "min-p", "P", "and have P of the likeliest one's (default: 0.05)", false},
    [RUN_REPEAT_PENALTY] = {0, "repeat-penalty", "X",
                            "make the last 64 tokens less likely (default: 1, not)", false},
    [RUN_SEED] = {'s', "seed", "N", "of the choice (default: 0; the same gives the same)", false},
    [RUN_STOP] = {'r', "stop", "TEXT", "stop before TEXT; may be given again", true, 0x1f},
    [RUN_IGNORE_EOS] = {0, "ignore-eos", NULL, "go on where the model would end", false},
    [RUN_KV_BF16] = {0, "kv-bf16", NULL, "keys and values in BF16: half the memory", false},
    [RUN_TOKENS] = {0, "tokens", NULL, "print the ids of tokens, not their text", false},
    [RUN_LOGITS] = {0, "logits", "FILE", "write the logits that tokens were chosen by (F32)",
                    false},
    [RUN_BASE] = {0, "base", "STORE|URL",
                  "of a store of differences: the one that it differs from (default: beside it)",
                  false},
    [RUN_DIR] = {0, "dir", "DIR", "where in the store the model is, if it has several", false},
    [RUN_RAM] = {0, "ram", "BYTES", "of memory at most (default: what the machine has to spare)",
                 false},
    [RUN_KEEP] = {0, "keep", "FORM",
                  "weights stay in memory as 'resident' (12 bits of BF16, 8 of q8; default), "
                  "'plain', or not: "
                  "'none'",
                  false},
    [RUN_KERNELS] = {0, "kernels", "NAME",
                     "scalar, avx2, avx512 (default: the best here; the same bits), or avx512bf16, "
                     "which rounds what BF16 weights are multiplied with to BF16: other bits",
                     false},
    [RUN_DEVICE] = {0, "device", "WHERE",
                    "'cpu', 'cuda', 'cuda:N', or 'auto': a GPU if there is one, and the model is "
                    "BF16 (default: $WEIR_DEVICE, else auto)",
                    false},
    [RUN_DECODE] = {0, "decode", "TIER",
                    "of a GPU: 'cpu', 'gpu', 'fused', 'raw' or 'auto' (default); see below", false},
    [RUN_CACHE_LAYERS] = {0, "cache-layers", "N",
                          "of --decode cpu and gpu: so many layers stay as BF16 once they are "
                          "decoded; 'auto': as many as fit",
                          false},
    [RUN_VRAM] = {0, "vram", "BYTES", "of a GPU's memory at most (default: what is free)", false},
    [RUN_DEPTH] = {0, "depth", "N", "layers on their way to the GPU at once (default: 2)", false},
    {0},
};

static void tiers(FILE *to)
{
    fputs(
        "\nOn a GPU the weights come to the multiplication by one of these ways:\n"
        "  --decode cpu     decoded by the processor, copied as BF16 for each pass: little\n"
        "                   memory there, and slow\n"
        "  --decode gpu     copied, or held, as the store has them, and decoded on the GPU a\n"
        "                   layer at a time\n"
        "  --cache-layers N of these two: N layers stay decoded\n"
        "  --decode fused   held in 12 bits a weight (7 of q8) and decoded inside of the\n"
        "                   multiplication: faster than BF16, in three quarters of its memory\n"
        "  --decode raw     held as BF16, decoded once: what the others are compared with\n"
        "'auto' takes the fastest that fits. What does not fit within --vram streams from this\n"
        "machine's memory, or from the store, while the GPU computes; --depth layers ahead. The\n"
        "logits are the same bits with each of them, but not the processor's: a GPU multiplies\n"
        "activations in BF16, and always keeps keys and values so (--kv-bf16 changes nothing).\n"
        "--ram is then what weights that stream may stay in, of this machine's memory; --keep\n"
        "and --kernels are of the processor, and with them 'auto' is 'cpu'; with one of --decode,\n"
        "--cache-layers, --vram and --depth it is 'cuda'.\n\n"
        "A GPU chooses the next token by itself, but for --top-k 0 or above 256: by the same\n"
        "random numbers, sums and order as the processor does, so the same -s gives the same ids\n"
        "by the same logits, with every tier, budget and -b. (e^x there may differ in its last\n"
        "bit: about once in 10^12 tokens another one could be drawn. With --temp 0 never.)\n\n"
        "With -m A -m B both models are there at once, within one --vram or --ram. Each -p, or\n"
        "each line of a .jsonl file, is answered by one after the other. Several -p to one model\n"
        "are answered in turn, too.\n",
        to);
}

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
        "number of threads, on any x86-64 processor, from any of these places; on a GPU of one "
        "kind,\n"
        "with any tier and any budget, as long as -u, the figures of 'weir doctor' and whether "
        "there is\n"
        "cuBLAS stay the same: prompts go by these.\n\n"
        "-p goes on with its text as it is, whatever the model was trained for. --chat or --sys "
        "make a\n"
        "question of it, in the model's own chat template. Without -p or -f each line of standard\n"
        "input is a question; ^C ends the answer, once more the program, as the end of the input "
        "does.\n"
        "Where the context is full, the first question and its answer are forgotten.\n\n"
        "A .jsonl file has on each line a text, or an object with one under \"prompt\". -b N of "
        "them go\n"
        "through the weights together. Each gives the same as alone: one object a line, in the "
        "order of\n"
        "the file.\n\n"
        "--perplexity cuts the text into windows of -c tokens, each of them begun anew, and takes "
        "all\n"
        "tokens but the first of each window.\n",
    .examples = "  weir run llama.weir -p 'Once upon a time' -n 200\n"
                "  weir run /mnt/model -p 'The capital of France is' --temp 0 --json\n"
                "  weir run -m qwen.weir --chat --sys 'You are brief.' --ram 1G\n"
                "  weir run llama.weir -p 'Once upon a time' --device cuda --vram 4G\n"
                "  weir run -m a.weir -m b.weir -p 'The capital of France is' --vram 12G\n",
    .option = options,
    .more_help = tiers,
    .min_operands = 0,
    .max_operands = 1,
    .run = run_run,
};
