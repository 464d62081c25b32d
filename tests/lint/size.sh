#!/usr/bin/env bash
# Files stay short: over 500 lines only when the first comment says "long because ...", over 800 never.
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
exit "$status"
