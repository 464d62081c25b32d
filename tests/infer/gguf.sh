#!/usr/bin/env bash
# A GGUF file, plain and in a store, against its llama2.c twin computed by other code in double.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

gguf=$shared/stories260K/stories260K.gguf
more=$(probe "$gguf" -n 100 1 | ids_of)
# shellcheck disable=SC2086  # ids
plain=$(probe "$gguf" -l "$work/logits" 1 $more)
# shellcheck disable=SC2086
"$INFER_LLAMA2C" "${gguf%.gguf}.bin" "$work/logits" 1 $more || fail "the GGUF file is another model"

mkdir "$work/model"
cp "$gguf" "$work/model"
"$WEIR" pack -q "$work" "$work/model.weir"
# shellcheck disable=SC2086
[ "$(probe "$work/model.weir" -d model 1 $more)" = "$plain" ] || fail "the store gives other bits"
