#!/usr/bin/env bash
# Each public header compiles alone as C++ too.  (As C: the build's own check, lint.headers_c.)
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

cxx=$(command -v c++ || command -v clang++) || skip "no C++ compiler"
n=0
while IFS= read -r header; do
    n=$((n + 1))
    "$cxx" -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I . -x c++ - <<<"#include \"$header\"" ||
        bad "$header"
done < <(sed -n 's/.*FILES//p' <(sources '*/CMakeLists.txt' | while IFS= read -r list; do
    folder=$(dirname "$list")
    tr '\n' ' ' <"$list" | grep -oE 'FILE_SET HEADERS[^)]*' | sed 's/.*FILES/FILES/' |
        tr ' ' '\n' | grep '\.h$' | sed "s|^|FILES$folder/|"
done))
echo "$n public headers"
[ "$n" -gt 0 ] || bad "found none"
exit "$status"
