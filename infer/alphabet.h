/* alphabet.h - the 256 characters that GPT-2 writes bytes with, so that vocabularies are text. */
#ifndef WEIR_INFER_ALPHABET_PRIVATE_H
#define WEIR_INFER_ALPHABET_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

/* n bytes of UTF-8, each character of which stands for a byte, to the bytes: *wrote of them, at
 * most n.  false: some character stands for none. */
bool alphabet_decode(const char *text, size_t n, char *to, size_t *wrote);

#endif
