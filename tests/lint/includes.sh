#!/usr/bin/env bash
# The dependency law of docs/architecture.md: which folder includes which, and which library.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# What C17, POSIX, Linux and the compiler bring; everybody may use it.
base='assert|ctype|dirent|endian|errno|fcntl|fenv|float|fnmatch|ftw|getopt|immintrin|inttypes|libgen'
base="$base|limits|locale|malloc|math|poll|pthread|pwd|sched|semaphore|setjmp|signal|spawn|stdalign"
base="$base|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|termios|threads|time"
base="$base|uchar|unistd|wchar|x86intrin|cpuid|sys/[a-z]+|linux/[a-z_]+"

check() { # check FOLDER "SIBLING..." "LIBRARY-HEADER-PATTERN..."
    local folder=$1 siblings libraries files
    siblings=$(tr ' ' '|' <<<"$1${2:+ $2}")
    libraries=$(tr ' ' '|' <<<"$base${3:+ $3}")
    files=$(sources "$folder/*.c" "$folder/*.h" "$folder/*.cu" "$folder/*.cuh")
    [ -n "$files" ] || return 0
    # shellcheck disable=SC2086  # no file of ours has a space in its name
    if grep -nE '^ *# *include *"[^"]*/' $files /dev/null | grep -vE "\"($siblings)/[a-z0-9_]+\.(h|cuh)\""; then
        bad "$folder/ may include only: $siblings"
    fi
    # shellcheck disable=SC2086
    if grep -nE '^ *# *include *<' $files /dev/null | grep -vE "<($libraries)(\.h)?>"; then
        bad "$folder/ may use only libc and: ${3:-nothing else}"
    fi
}

check codec "" "zstd(_errors)? openssl/[a-z0-9_]+ xxhash jansson"
check fetch "codec" "curl/[a-z]+ openssl/[a-z0-9_]+ jansson"
check cuda "codec" "dlfcn cuda[a-z0-9_]* mma cooperative_groups(/[a-z_]+)? cub/.*"
check fs "codec" "jansson fuse[a-z0-9_]* fuse3/fuse[a-z0-9_]*"
check infer "codec cuda" "jansson pcre2 utf8proc xxhash"
exit "$status"
