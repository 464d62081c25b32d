#!/usr/bin/env bash
# Goldens as GGUF files: every element type, head_dim given, tied, rope scaled by a key or a tensor.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")

for case in llama-gqa4-tied llama-rope-linear llama-rope-llama3; do
    folder=$here/golden/$case hash=
    for dtype in F32 F16 BF16; do
        python3 "$here/make_gguf.py" "$folder" "$work/model.gguf" $dtype
        # shellcheck disable=SC2046  # ids
        found=$(probe "$work/model.gguf" -l "$work/logits" $(cat "$folder/ids.txt") | hash_of)
        python3 "$here/make_gguf.py" "$folder" "$work/logits" || fail "$case in $dtype"
        [ "$found" = "${hash:-$found}" ] || fail "$case: other bits in $dtype"
        hash=$found
    done
done
