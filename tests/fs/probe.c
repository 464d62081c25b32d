/* Looks at files in a mount in ways that shell tools do not, and compares them with a reference. */
#include <stdio.h>
#include <string.h>

#include "probe.h"

static const char usage[] =
    "probe mmap|pread|direct REFERENCE FILE\n"
    "    4 threads at random offsets; 0: all bytes equal\n"
    "probe pages REFERENCE FILE\n"
    "    page by page; prints how many cannot be read (EIO), the first and the last of them; 0: "
    "all\n"
    "    others are equal\n"
    "probe storm [--ops N] [--threads N] [--seconds N] [--seed N] REFERENCE FILE\n"
    "    N random accesses of every kind; both may be directories, then each access takes one of\n"
    "    the files; 0: all were made and no byte differs\n"
    "probe drain FILE\n"
    "    reads again and again, past the page cache, until an error; 0: there was one\n"
    "probe load SECONDS FILE...\n"
    "    16 threads that read, map and open until each of them has had an error, which is exit\n"
    "    code 0; says `reading` when all of them have begun; 1: no error in so many seconds\n"
    "probe forget FILE...\n"
    "    what the kernel keeps of them in memory goes, as far as nobody has it mapped\n"
    "probe xattr PATH [NAME]\n"
    "    all extended attributes, NAME=VALUE; or the value of one, or what errno says\n"
    "probe warm STATUS FILE\n"
    "    reads FILE, STATUS, FILE again by the same descriptor and in a map, and STATUS again, by\n"
    "    its same descriptor; prints what STATUS held, a line `----` in between\n";

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    int status = 2;
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } ways[] = {
        {"pages", pages_main},   {"storm", storm_main}, {"drain", drain_main}, {"load", load_main},
        {"forget", forget_main}, {"xattr", xattr_main}, {"warm", warm_main},
    };
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(way, ways[i].name) == 0)
            return ways[i].run(argc - 2, argv + 2);
    if (strcmp(way, "mmap") == 0 || strcmp(way, "pread") == 0 || strcmp(way, "direct") == 0)
        status = compare_main(way, argc - 2, argv + 2);
    if (status == 2)
        fputs(usage, stderr);
    return status;
}
