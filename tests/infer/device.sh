#!/usr/bin/env bash
# --device and the options of a GPU where there is none: what is refused, what is said to be missing, and that
# everything else goes on as before.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models
unset WEIR_DEVICE WEIR_DEVICE_TEST
export CUDA_VISIBLE_DEVICES= # none, even where there is one

story=$shared/story

# Without a GPU: the processor unless one was asked for, and then what is missing.
expect 0 "$WEIR" run "$story" -p "Once upon a time" -n 4 --temp 0
says '; device cpu; logits [0-9a-f]{16}; end: length$'
hash=$(grep -o 'logits [0-9a-f]*' "$work/err")
missing=2 what='no CUDA device'
if ! "$WEIR" --version | grep -q 'cuda yes'; then
    missing=4 what='built without CUDA'
fi
for how in "--device cuda" "--device cuda:7" "--vram 4G" "--decode fused" "--cache-layers 3" "--depth 2"; do
    # shellcheck disable=SC2086  # options
    expect $missing "$WEIR" run "$story" -p a $how
    says "^weir run: --device cuda: .*$what"
    [ ! -s "$work/out" ] || fail "an answer without a GPU: $how"
done
expect $missing "$WEIR" run "$story" -p a --device cuda --json
[ "$(key 'd["error"]["code"]')" = $missing ] || fail "$(cat "$work/out")"

# What to do about it is what helps, not what helps with files.
says '; .*--device cpu|; without one, --device cpu does it'
! grep -qE 'check the name|newer weir|check the disk' "$work/err" || fail "another error's advice: $(cat "$work/err")"

# The variable is what --device would be, for those who say nothing.
for variable in cpu auto; do
    WEIR_DEVICE=$variable expect 0 "$WEIR" run "$story" -p "Once upon a time" -n 4 --temp 0
    [ "$(grep -o 'logits [0-9a-f]*' "$work/err")" = "$hash" ] || fail "other bits with WEIR_DEVICE=$variable"
done
WEIR_DEVICE=cuda expect $missing "$WEIR" run "$story" -p a
WEIR_DEVICE=cuda expect 0 "$WEIR" run "$story" -p a -n 1 --device cpu
WEIR_DEVICE=cuda expect 0 "$WEIR" run "$story" -p a -n 1 --keep none
WEIR_DEVICE=cpu expect $missing "$WEIR" run "$story" -p a --vram 4G
WEIR_DEVICE=gpu expect 1 "$WEIR" run "$story" -p a
says '^weir run: WEIR_DEVICE is'

# What is no device, no tier, no number; what does not go together.
refused() { # refused PATTERN OPTION...
    local pattern=$1
    shift
    expect 1 "$WEIR" run "$story" -p a "$@"
    says "$pattern"
}
for device in gpu cuda: cuda:x cuda:-1 cuda:1x cuda:99999999999999999999 '' CPU; do
    refused "^weir run: --device is 'auto', 'cpu', 'cuda' or" --device "$device"
done
for tier in 1 tier4 '' Fused; do refused "^weir run: --decode is 'auto', 'cpu', 'gpu', 'fused' or 'raw'" --decode "$tier"; done
for n in x -1 1x 99999 ''; do refused '^weir run: --cache-layers is' --cache-layers "$n"; done
refused '^weir run: --depth is a number from 1 to 8' --depth 0
refused '^weir run: --depth is a number from 1 to 8' --depth 9
refused '^weir run: --vram is a size' --vram 0
refused '^weir run: --vram is a size' --vram all
for tier in fused raw; do
    refused '^weir run: --cache-layers goes with --decode cpu or gpu' --decode $tier --cache-layers 3
done
for how in "--vram 4G" "--decode fused" "--cache-layers 3" "--depth 2"; do
    # shellcheck disable=SC2086
    refused 'is of a GPU; it goes without --device cpu' --device cpu $how
    # shellcheck disable=SC2086
    refused 'is of a GPU; it goes without --keep' --keep none $how
done
refused "--keep is of the processor" --device cuda --keep plain
refused "--kernels is of the processor" --device cuda --kernels scalar
WEIR_DEVICE_TEST=delay refused '^weir run: WEIR_DEVICE_TEST is of'
WEIR_DEVICE_TEST=delay=1,poison2 refused '^weir run: WEIR_DEVICE_TEST is of'
WEIR_DEVICE_TEST=delay=1,seed=2,poison expect 0 "$WEIR" run "$story" -p a -n 1

# A report has the same keys everywhere.
expect 0 "$WEIR" run "$story" -p a -n 1 --device cpu --json
[ "$(key '[d[k] for k in ("device", "device_name", "decode", "peak_vram_bytes", "vram_measured_bytes", "copied_bytes", "decoded_bytes", "layers")]')" = \
    "['cpu', None, None, 0, 0, 0, 0, None]" ] || fail "$(cat "$work/out")"
[ "$(key 'd["has_blas"], d["small_piece"], d["chosen_on_device"]')" = "(None, None, 0)" ] || fail "$(cat "$work/out")"
printf '"a"\n' >"$work/p.jsonl"
expect 0 "$WEIR" run "$story" -f "$work/p.jsonl" -n 1
says '; device cpu$'
printf 'a b c d' >"$work/text"
expect 0 "$WEIR" run "$story" --perplexity "$work/text" --json
[ "$(key 'd["device"]')" = cpu ] || fail "$(cat "$work/out")"
