#!/usr/bin/env bash
# What README.md says that the demo model says.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"

readme=$WEIR_SOURCE/README.md
"$WEIR" run "$WEIR_SOURCE/tests/demo/stories.weir" -p 'Once upon a time' --temp 0 \
    >"$work/text" 2>"$work/said"
grep -qxF "> $(cat "$work/text")" "$readme" || fail "README.md has another story: $(cat "$work/text")"
hash=$(grep -o 'logits [0-9a-f]*; end: eos' "$work/said") || fail "it did not end: $(cat "$work/said")"
grep -qF "$hash" "$readme" || fail "README.md has other logits: $hash"
