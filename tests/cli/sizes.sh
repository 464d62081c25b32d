#!/usr/bin/env bash
# How small stores are: the figures that docs/benchmarks.md quotes, held as limits.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
gen_tensor=$WEIR_BUILD/tests/gen_tensor
[ -x "$gen_tensor" ] || skip "no gen_tensor in this build"
# A quarter of the size says the same to three digits; sanitizers take ten times as long.
megabytes=256
[ -z "$WEIR_SANITIZE" ] || megabytes=32

# stored_bits FILE: bits stored per byte of FILE, everything counted.
stored_bits() {
    "$WEIR" pack -q -f "$1" "$tmp/s.weir"
    awk -v s="$(stat -c %s "$tmp/s.weir")" -v p="$(stat -c %s "$1")" 'BEGIN { printf "%.5f", 8 * s / p }'
}
at_most() { # at_most WHAT BITS LIMIT
    echo "$1: $2 bits a byte, at most $3"
    awk -v b="$2" -v l="$3" 'BEGIN { exit !(b <= l) }' || die "$1 takes $2 bits a byte, over $3"
}

"$gen_tensor" "$tmp/t.safetensors" BF16 $megabytes
at_most "BF16, N(0, 0.02)" "$(stored_bits "$tmp/t.safetensors")" 5.26 # 10.52 bits a weight
"$gen_tensor" "$tmp/t.safetensors" F32-of-BF16 32
at_most "F32 that holds BF16" "$(stored_bits "$tmp/t.safetensors")" 2.88 # 0.36 of its size

# Real weights: exponent entropy + 8 bits + 2 %, each tensor of more than 65,536 elements.
command -v python3 >/dev/null || skip "no python3 for the rest"
n=0
for file in story/model-bf16 edge/opt-lora-bf16 edge/rwkv7-bf16; do
    real=$WEIR_SHARED/models/$file.safetensors
    [ -f "$real" ] || continue
    "$WEIR" pack -q -f "$real" "$tmp/s.weir"
    "$WEIR" ls --tensors --json "$tmp/s.weir" >"$tmp/ls.json"
    python3 "$WEIR_SOURCE/tests/bench/exponent_entropy.py" "$real" "$tmp/ls.json" >"$tmp/bits" ||
        die "$file: $(grep LARGE "$tmp/bits")"
    echo "$file: $(wc -l <"$tmp/bits") tensors compared with their exponent entropy"
    n=$((n + 1))
done
[ $n -gt 0 ] || skip "no ../shared/models for the rest"
