#!/usr/bin/env bash
# Weights brought to a GPU are the checkpoint's, in every way: on a GPU where this build has CUDA, and
# else on one that does what is queued as late as it may be, or at random.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "${GPU_WEIGHTS:-}" ] || {
    echo "skipped: not built"
    exit 77
}

megabytes=3
case ${WEIR_SANITIZE:-} in *thread*) megabytes=1 ;; esac # slow, and threads do the same
"$WEIR_GEN" "$work/small" --megabytes $megabytes --seed 5
"$WEIR" pack -q "$work/small" "$work/small.weir"
golden=$WEIR_SOURCE/tests/infer/golden
# And what differs from it, or is its own: the host makes that plain.
relative=$WEIR_BUILD/tests/gen_relative
if [ -x "$relative" ]; then
    mkdir "$work/near"
    cp "$work"/small/*.json "$work/near/"
    for f in "$work"/small/*.safetensors; do "$relative" nudge "$f" "$work/near/$(basename "$f")" 9; done
    "$WEIR" pack -q --base "$work/small.weir" "$work/near" "$work/near.weir"
    "$WEIR" pack -q --base "$work/small.weir" "$work/small" "$work/same.weir"
fi
run() {
    local code=0
    "$GPU_WEIGHTS" -q "$@" >"$work/out" || code=$?
    [ $code = 77 ] && exit 77
    [ $code = 0 ] || fail "$(grep -v 'fine$' "$work/out")"
}
if [ -n "${GPU_RACES:-}" ]; then
    "$GPU_RACES" "$work/small.weir" "$golden/phi3" "$golden/llama" >"$work/out" || fail "$(cat "$work/out")"
fi
FAKE_GPU_SEED=0 run "$work/small.weir" "$golden/phi3"
[ $megabytes = 1 ] && exit 0
"$WEIR_BUILD/tests/gen_store" "$work/wide.weir" --shape 256,704,4,4,2,300 --seed 1 >"$work/out" # in 12 bits
FAKE_GPU_SEED=1 run "$work/wide.weir" "$work/small" "$golden/llama-gqa4-tied" "$golden/qwen2"
if [ -x "$relative" ]; then
    FAKE_GPU_SEED=3 run "$work/near.weir,$work/small.weir" "$work/same.weir,$work/small.weir"
fi
FAKE_GPU_SEED=2 run "$golden/gemma2" "$golden/llama"
# Tiles made of items and scales, and weights that are whole steps.
"$WEIR_GEN" "$work/wide" --megabytes 11 --seed 5
"$WEIR" pack -q --profile q8 "$work/wide" "$work/q8.weir"
FAKE_GPU_SEED=3 run "$work/q8.weir"
