#!/usr/bin/env bash
# clang-tidy, with the limits of .clang-tidy, on every C file that the build compiles.  A file that
# passed is not looked at again until it, a header or the settings change.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

command -v clang-tidy >/dev/null || skip "no clang-tidy"
build=${WEIR_BUILD:-build/dev}
[ -f "$build/compile_commands.json" ] || skip "no compile_commands.json in $build"

passed=$build/tidy
mkdir -p "$passed"
context=$(
    clang-tidy --version
    find . -name .clang-tidy -not -path './build*' -exec cat {} +
    sources '*.h' '*CMakeLists.txt' | xargs cat
)
context=$(sha256sum <<<"$context")

tidy() { # tidy FILE
    local stamp out
    stamp=$passed/$(sha256sum - "$1" <<<"$context" | sha256sum | cut -c1-32)
    [ ! -e "$stamp" ] || return 0
    if out=$(clang-tidy --quiet --extra-arg=-Wno-error -p "$build" "$1" 2>/dev/null); then
        : >"$stamp"
    else
        printf '%s\n' "$out"
        echo "^ clang-tidy: $1"
        return 1
    fi
}
export -f tidy
export passed context build

sources '*.c' | while IFS= read -r file; do
    ! grep -qF "/$file\"" "$build/compile_commands.json" || printf '%s\0' "$file"
done | xargs -0 -r -n 1 -P "$(nproc)" bash -c 'tidy "$0"'
