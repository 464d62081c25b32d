#!/usr/bin/env bash
# A real model from its plain files, its BF16 file and its store: the golden of ../shared/README.md,
# and the same bits from all of them.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

prompt="1 80 147 201 282 57"
golden="313 598 303 1049 1468 267 628 333 94 1210 263 251 604 94 1030 94 1030 94 436 220 1053 615 303"
golden="$golden 328 552 319 1269 163 1945 897 645 1188"
# 32 more: transformers 5.23, model.safetensors in F32 and in F64, greedy (the README's 32 are its first, too).
golden="$golden 108 319 135 448 563 1799 1380 1067 163 1855 325 825 1896 274 108 521 1858 204 1803 94 1252 444 666"
golden="$golden 309 448 825 266 243 104 342 521 336"
top="313:17.3808 8:13.7726 1773:13.7435 404:12.6918 547:11.3585"

story() { # story SRC OPTION...: 64 ids more
    # shellcheck disable=SC2086  # ids
    probe "$@" -n 64 $prompt
}
plain=$(story "$shared/story" -l "$work/logits")
[ "$(ids_of <<<"$plain")" = "$golden " ] || fail "other ids: $plain"

# The five greatest at the last position of the prompt, to four places.
vocab=2048
found=$(od -A n -v -t f4 -w4 -j $((5 * 4 * vocab)) -N $((4 * vocab)) "$work/logits" |
    awk '{ print NR - 1, $1 }' | sort -k 2,2 -g -r | sed -n 1,5p | tr '\n' ' ')
awk -v found="$found" -v top="$top" 'BEGIN {
    n = split(found, f, " "); split(top, t, "[ :]")
    for (i = 1; i <= 10; i++)
        if (n != 10 || (i % 2 ? f[i] != t[i] : (f[i] - t[i]) ^ 2 > 1e-8)) exit 1
}' || fail "other logits: $found"

"$WEIR" pack -q "$shared/story" "$work/story.weir"
for source in "$shared/story/model-bf16.safetensors" "$work/story.weir" \
    "$work/story.weir -w model-bf16.safetensors"; do
    # shellcheck disable=SC2086  # options
    [ "$(story $source)" = "$plain" ] || fail "$source: other ids or bits"
done
