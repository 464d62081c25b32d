/* tiny.h - small models with made-up weights, as safetensors in memory: what make_goldens.py
 * computes with, made anew from tensors.txt.  Errors of the test's own end the program. */
#ifndef WEIR_TESTS_TINY_H
#define WEIR_TESTS_TINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tiny_bytes {
    char *at; /* n bytes and a NUL; freed with free() */
    size_t n;
};

/* Ends the program, naming it, where there is no such file. */
struct tiny_bytes tiny_read(const char *folder, const char *name);

/* dtype   "F32", "BF16" or "F16": the values are the same
 * prefix  put before each tensor's name; without_model: where it begins with "model.", instead */
struct tiny_bytes tiny_safetensors(const struct tiny_bytes *list, const char *dtype,
                                   const char *prefix);

#endif
