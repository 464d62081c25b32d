#!/usr/bin/env bash
# Every C and CUDA file is as clang-format leaves it (fix: make format).
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

command -v clang-format >/dev/null || skip "no clang-format"
sources '*.c' '*.h' '*.cu' '*.cuh' | xargs -r clang-format --dry-run -Werror
