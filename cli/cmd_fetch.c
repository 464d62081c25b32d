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
    [FETCH_INCLUDE] = {0, "include", "GLOB", "of a repository, only these files; may be repeated",
                       true, '\n'},
    [FETCH_EXCLUDE] = {0, "exclude", "GLOB",
                       "... and not these ('*' goes over '/'; DIR/: all in it)", true, '\n'},
    [FETCH_HF_CACHE] = {0, "hf-cache", NULL, "fill the Hub's own cache, where its tools look",
                        false},
    [FETCH_PACK] = {0, "pack", NULL, "of a repository, make the store DST (default: NAME.weir)",
                    false},
    {0},
};

const struct cmd cmd_fetch = {
    .name = "fetch",
    .operands = "URL|hf:ORG/NAME[@REVISION] [DST]",
    .summary = "Download a store or a repository, verified; go on where it was broken off",
    .text =
        "DST is a file or a directory (default: here); it gets its name only when all of it is\n"
        "there and its SHA-256s are right. What a run that was broken off has left lies beside it\n"
        "in DST.weir-partial and DST.weir-fetch; the same command goes on from there. With\n"
        "--repair, DST is a damaged store. The last line on stdout is its path; with --json every\n"
        "line is an event.\n"
        "\n"
        "With --plain, DST is a folder, which gets the files that are packed in the store; the\n"
        "store itself is never on the disk, what is not whole yet lies in DST/.weir-fetch, and\n"
        "files that are there already, with the right SHA-256, stay.\n"
        "\n"
        "With --tensors or --layers, DST is a part of the store: configuration, tokenizer and\n"
        "headers, and the tensors that a GLOB matches or that are in a layer (layers.7, h.7,\n"
        "blk.7, ...; from 0). Embeddings and the like are in no layer: name them with --tensors.\n"
        "A part can be listed, verified and mounted; reading what it lacks is an error. A later\n"
        "fetch to the same DST adds to it; one without these options makes it the store.\n"
        "\n"
        "hf:ORG/NAME is a model on the Hugging Face Hub (hf:datasets/ORG/NAME: a dataset): its "
        "files\n"
        "come at one commit into the directory DST (default: NAME), each with its SHA-256, or git\n"
        "SHA-1, checked. Files that are there and right are kept. With --hf-cache they go where\n"
        "transformers and others look, and the snapshot's path is printed. hf:ORG/NAME/PATH.weir "
        "is\n"
        "a store in a repository. With --pack the files become the store DST on their way: what\n"
        "'weir pack' makes of them, without the plain files ever being on the disk.\n"
        "\n"
        "Proxies: http_proxy, https_proxy, no_proxy; whom to trust: SSL_CERT_FILE. As documented\n"
        "for the Hub: HF_ENDPOINT, the only one to see the token; HF_TOKEN, HF_TOKEN_PATH, "
        "HF_HOME,\n"
        "HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN, "
        "HF_HUB_DISABLE_PROGRESS_BARS.\n",
    .examples =
        "  weir fetch https://host/llama.weir\n"
        "  weir fetch --plain https://host/llama.weir Llama-3.1-8B\n"
        "  weir fetch --layers 0-15 --tensors '*embed*' https://host/llama.weir stage0.weir\n"
        "  weir fetch hf:org/llama --include '*.json' --include '*.safetensors'\n"
        "  weir fetch --hf-cache hf:org/llama@v1.0\n"
        "  weir fetch --pack hf:org/llama models/\n"
        "  weir fetch --seed llama-3.0.weir https://host/llama-3.1.weir models/\n"
        "  weir fetch --repair https://host/llama.weir llama.weir\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 2,
    .run = fetch_run,
};
