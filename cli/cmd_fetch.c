/* cmd_fetch.c - the command line of `weir fetch`. */
#include "cmd_fetch.h"

static const struct cli_option options[] = {
    [FETCH_CONNECTIONS] = {'x', "connections", "N",
                           "have at most N, fewer if more do not pay (default: 16)", false},
    [FETCH_FORCE] = {'f', "force", NULL, "replace DST if it exists", false},
    [FETCH_SEED] = {0, "seed", "OLD", "copy what an older store on this disk has already", false},
    [FETCH_REPAIR] = {0, "repair", NULL, "fetch only what is damaged of DST, in its place", false},
    [FETCH_PLAIN] = {0, "plain", NULL, "make plain files in the folder DST, as unpack does", false},
    [FETCH_TENSORS] = {0, "tensors", "GLOB",
                       "fetch only tensors with such names; may be given again, or GLOB,GLOB",
                       true},
    [FETCH_LAYERS] = {0, "layers", "A-B",
                      "fetch only tensors of layers A to B (A, A-: to the last)", false},
    [FETCH_LIMIT_RATE] = {0, "limit-rate", "BYTES", "per second, over all connections", false},
    [FETCH_SPEED_LIMIT] = {0, "speed-limit", "BYTES",
                           "a connection with less per second (default: 1000)", false},
    [FETCH_SPEED_TIME] = {0, "speed-time", "SECONDS", "... for so long is made anew (default: 20)",
                          false},
    [FETCH_RETRY] = {0, "retry", "N", "tries in a row without progress (default: 10)", false},
    {0},
};

const struct cmd cmd_fetch = {
    .name = "fetch",
    .operands = "URL [DST]",
    .summary = "Download a store, verified, and go on where it was broken off",
    .text =
        "DST is a file or a directory (default: here); it gets its name only when all of it is\n"
        "there and its SHA-256s are right. What a run that was broken off has left lies beside it\n"
        "in DST.weir-partial and DST.weir-fetch; the same command goes on from there. With\n"
        "--repair, DST is a damaged store.\n"
        "With --plain, DST is a folder, which gets the files that are packed in the store; the\n"
        "store itself is never on the disk, what is not whole yet lies in DST/.weir-fetch, and\n"
        "files that are there already, with the right SHA-256, stay.\n"
        "With --tensors or --layers, DST is a part of the store: configuration, tokenizer and\n"
        "headers, and the tensors that a GLOB matches or that are in a layer (layers.7, h.7,\n"
        "blk.7, ...; from 0). Embeddings and the like are in no layer: name them with --tensors.\n"
        "A part can be listed, verified and mounted; reading what it lacks is an error. A later\n"
        "fetch to the same DST adds to it; one without these options makes it the store.\n"
        "The last line on stdout is the path; with --json every line is an event. Proxies:\n"
        "http_proxy, https_proxy, no_proxy; whom to trust: SSL_CERT_FILE; a token, sent to\n"
        "HF_ENDPOINT only: HF_TOKEN.\n",
    .examples =
        "  weir fetch https://host/llama.weir\n"
        "  weir fetch --seed llama-3.0.weir https://host/llama-3.1.weir models/\n"
        "  weir fetch --plain https://host/llama.weir Llama-3.1-8B\n"
        "  weir fetch --layers 0-15 --tensors '*embed*' https://host/llama.weir stage0.weir\n"
        "  weir fetch --repair https://host/llama.weir llama.weir\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 2,
    .run = fetch_run,
};
