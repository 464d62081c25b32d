#!/usr/bin/env bash
# Files stay short: over 500 lines only when the first comment says "long because ...", over 800 never;
# and small: 4 MiB.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 800 ]; then
        echo "$file: $lines lines"
        bad "no file has more than 800 lines"
    elif [ "$lines" -gt 500 ] && ! sed -n '1,/\*\//p' "$file" | head -n 40 | grep -qi 'long because'; then
        echo "$file: $lines lines"
        bad "over 500 lines: split it, or say \"long because ...\" in its first comment"
    fi
done < <(sources '*.c' '*.h' '*.cu' '*.cuh' '*.sh' '*.py')
# What is committed stays for ever: the demo's store is the largest thing there is a reason for.
while IFS= read -r -d '' file; do
    bytes=$(stat -c %s "$file" 2>/dev/null || echo 0)
    if [ "$bytes" -gt 4194304 ]; then
        echo "$file: $bytes bytes"
        bad "no file has more than 4 MiB"
    fi
done < <(git ls-files -z 2>/dev/null)
exit "$status"
