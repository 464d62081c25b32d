/* The texts of published templates.  tests/infer/known_chats.txt says whose each is. */
#include "chat_private.h"

static const struct chat_text known[] = {
    {199, 0xa41d6bae9b9141bcu, "chatml"},
    {196, 0x88bf4138d5c826f0u, "chatml"},
    {591, 0x5c10ee65212d93b3u, "gemma"},
    {594, 0x70f3cded3fb90051u, "gemma"},
    {576, 0xe588cc2356832fabu, "gemma-bare"},
    {579, 0x690954969ec87269u, "gemma-bare"},
    {1531, 0xd19b6ff3a49deea5u, "gemma3"},
    {815, 0xf344eecf1bd3a427u, "llama2"},
    {811, 0x4d1512049817743du, "llama2"},
    {389, 0x0e60067a5537498eu, "llama3"},
    {393, 0x32844fd43eab01d2u, "llama3"},
    {4613, 0xcc0368e1ffb6b958u, "llama3.1"},
    {3826, 0x368f4c34b8554414u, "llama3.2"},
    {477, 0xc730acc029ce6ee0u, "mistral-v0.1"},
    {470, 0x8c734b90b4f8d84du, "mistral-v0.2"},
    {1057, 0x46eac0bf5c765c47u, "mistral-v1"},
    {3958, 0x2487e6e79d6345cfu, "mistral-v3"},
    {3944, 0x20783e9d94168233u, "mistral-v3-tekken"},
    {407, 0xecebdb26677c663du, "phi3"},
    {414, 0xb57fd8a13386ab5fu, "phi3"},
    {254, 0x6057775af4d6feb9u, "phi3-medium-first"},
    {258, 0x96c2439b550245f3u, "phi3-medium-first"},
    {269, 0x4ebae769b67b72f1u, "phi3-mini-first"},
    {273, 0xebc826f08cf92eabu, "phi3-mini-first"},
    {218, 0x475fd3e16d05c1afu, "phi3-small"},
    {221, 0x034c188108bf106du, "phi3-small"},
    {430, 0xcf278cde387a54c8u, "phi3.5"},
    {437, 0x95fa28927d49ef90u, "phi3.5"},
    {462, 0x9acdd6b945e8e7f9u, "phi4"},
    {377, 0xa0d463619fe96578u, "phi4-first"},
    {423, 0xd6a2d985b28ca308u, "phi4-mini"},
    {333, 0x75e88977b2787cd7u, "qwen2"},
    {328, 0x8a87094e0e1e24c5u, "qwen2"},
    {2506, 0xe642ce246d7f2e3du, "qwen2.5"},
    {4116, 0x2bfdb7aa9754484eu, "qwen3"},
    {4168, 0x959a4551391a6549u, "qwen3"},
    {2630, 0x3751fe8ea48448abu, "qwen3-2507"},
    {373, 0x09b5156a5cf6abfcu, "smollm2"},
    {368, 0x45ec583d4d25bc3au, "smollm2"},
    {410, 0xcd8b49000db02c2cu, "zephyr"},
    {413, 0x0af6ea9cf9896e56u, "zephyr"},
    {0, 0, NULL},
};

const struct chat_text *chat_known(size_t i)
{
    return &known[i];
}
