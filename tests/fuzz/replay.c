/* Runs the fuzz target over each input named on the command line (a folder: all files in it),
 * whole, then cut short and with bytes changed.  The same mutants every time.  Each input lies in
 * a heap block of exactly its size, so that a sanitizer sees the first byte read past it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAX_MUTATED_BYTES = 64 << 10, /* larger inputs are replayed whole only */
    N_MUTANTS = 256,              /* of each input */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *allocate(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p) {
        fprintf(stderr, "replay: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return p;
}

static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = allocate(n);
    if (n)
        memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void run_mutants(uint8_t *bytes, size_t n)
{
    uint64_t random = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < N_MUTANTS; i++) {
        size_t at = (size_t)(next_random(&random) % n);
        if (i % 4 == 0) {
            run(bytes, at);
            continue;
        }
        uint8_t was = bytes[at];
        bytes[at] = (uint8_t)(was ^ (1u + next_random(&random) % 255u));
        run(bytes, n);
        bytes[at] = was;
    }
}

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    *n = (size_t)st.st_size;
    uint8_t *bytes = allocate(*n);
    if (fread(bytes, 1, *n, f) != *n) {
        fprintf(stderr, "%s: short read\n", path);
        exit(EXIT_FAILURE);
    }
    fclose(f);
    return bytes;
}

static void replay_file(const char *path)
{
    size_t n;
    uint8_t *bytes = read_file(path, &n);
    run(bytes, n);
    if (n > 0 && n <= MAX_MUTATED_BYTES)
        run_mutants(bytes, n);
    free(bytes);
}

/* A folder that is not there holds no inputs. */
static size_t replay(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        struct stat st;
        if (stat(path, &st) != 0)
            return 0;
        replay_file(path);
        return 1;
    }
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char name[4096];
        if (e->d_name[0] == '.')
            continue;
        int len = snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (len < 0 || (size_t)len >= sizeof(name)) {
            fprintf(stderr, "%s/%s: name too long\n", path, e->d_name);
            exit(EXIT_FAILURE);
        }
        replay_file(name);
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    size_t n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    run(NULL, 0);
    printf("%zu inputs replayed, up to %d mutants of each\n", n, N_MUTANTS);
    return n || argc == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
