#!/usr/bin/env bash
# However the work is cut up and wherever the weights lie: the same bits at each of 256 positions.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

"$WEIR" pack -q "$shared/story" "$work/story.weir"
# shellcheck disable=SC2046  # ids
set -- $(probe "$shared/story" -n 255 1 | ids_of)
plain=$(probe "$shared/story" 1 "$@")
count=0
try() { # try SRC OPTION...
    [ "$(probe "$@" 1 "${ids[@]}")" = "$plain" ] || fail "other bits: $*"
    count=$((count + 1))
}
ids=("$@")
for way in "1 1" "1 256" "2 37" "4 1" "4 256"; do
    read -r threads chunk <<<"$way"
    try "$shared/story" -t "$threads" -c "$chunk"
    try "$work/story.weir" -t "$threads" -c "$chunk" -b 4
done
for kernels in scalar avx2 avx512; do
    probe "$shared/story" -k $kernels 1 2 >"$work/out" 2>&1 ||
        { grep -q "no $kernels" "$work/out" && continue; }
    try "$work/story.weir" -k $kernels -t 2
    try "$shared/story/model-bf16.safetensors" -k $kernels -c 5 -b 4
done
# Some tensors kept, none, all; in 12 bits and as they are.  The demo's are BF16, so the resident form
# is used; of story's F32 there is only the plain one.
demo=$WEIR_SOURCE/tests/demo/stories.weir
# shellcheck disable=SC2046  # ids
set -- $(probe "$demo" -n 255 1 | ids_of)
ids=("$@")
plain=$(probe "$demo" 1 "$@")
for budget in 1 300000 1500000 99999999; do
    for form in "" -P; do
        # shellcheck disable=SC2086  # none or one
        try "$demo" -K $budget $form -t 2 -c 37
        # shellcheck disable=SC2086
        try "$demo" -K $budget $form -t 1 -c 64 -b 2
    done
done
# Kernels with other bits: their own, in every way.
if probe "$demo" -k avx512bf16 1 2 >"$work/out" 2>&1; then
    exact=$plain plain=$(probe "$demo" -k avx512bf16 1 "$@")
    [ "$plain" != "$exact" ] || fail "avx512bf16 has the bits of the others"
    for way in "-t 2 -c 1" "-t 4 -c 37 -b 3" "-K 300000 -c 5" "-K 99999999 -c 1" "-K 99999999 -t 2 -c 64 -b 2" "-K 99999999 -P -c 7"; do
        # shellcheck disable=SC2086  # options
        try "$demo" -k avx512bf16 $way
    done
else
    grep -q "no avx512bf16" "$work/out" || fail "avx512bf16: $(cat "$work/out")"
fi
probe "$shared/story" 1 2 3 >"$work/kept"
probe "$shared/story" -K 99999999 -c 1 1 2 3 | cmp - "$work/kept" || fail "F32 that is kept differs"
echo "$count ways, $(hash_of <<<"$plain")"
