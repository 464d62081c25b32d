#!/usr/bin/env bash
# A model that was born as FP8 runs from its store as from its files.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

mkdir "$work/born"
cp "$shared"/story/*.json "$work/born"
"$WEIR_BUILD/tests/gen_born" "$shared/story/model-bf16.safetensors" "$work/born/model.safetensors" e4m3 128 128
"$WEIR" pack -q "$work/born" "$work/born.weir"
"$WEIR" ls --tensors "$work/born.weir" >"$work/ls"
grep -qF '(FP8 E4M3 x 128x128 scales)' "$work/ls" || fail "not packed as FP8: $(cat "$work/ls")"

prompt="1 80 147 201 282 57"
# shellcheck disable=SC2086  # ids
plain=$(probe "$work/born" -n 64 $prompt)
# shellcheck disable=SC2086  # ids
[ "$(probe "$work/born.weir" -n 64 $prompt)" = "$plain" ] || fail "other ids or bits"
expect 0 "$WEIR" run -m "$work/born" -p "Once upon a time" -n 32 --temp 0
cp "$work/out" "$work/from-files"
expect 0 "$WEIR" run -m "$work/born.weir" -p "Once upon a time" -n 32 --temp 0
cmp "$work/out" "$work/from-files" || fail "another text"
