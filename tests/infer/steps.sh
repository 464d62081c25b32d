#!/usr/bin/env bash
# A near-lossless store's weights in 8 bits: the bits of the plain ones, wherever they lie; and that
# they do lie in 8 bits.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"

"$WEIR_GEN" "$work/model" --megabytes 11 --seed 5 >"$work/out"
"$WEIR" pack -q --profile q8 "$work/model" "$work/near.weir"
"$WEIR" unpack -q "$work/near.weir" "$work/plain"
ids=(1 2 3 4 5 6 7 8 9 10 11 12)
plain=$(probe "$work/near.weir" 1 "${ids[@]}")
try() { # try SRC OPTION...
    [ "$(probe "$@" 1 "${ids[@]}")" = "$plain" ] || fail "other bits: $*"
}
for src in "$work/near.weir" "$work/plain"; do
    for way in "-t 2 -c 5" "-K 99999999 -c 1" "-K 99999999 -P -c 1" "-K 99999999 -t 2 -c 64 -b 2" "-K 3000000 -c 7"; do
        # shellcheck disable=SC2086  # options
        try "$src" $way
    done
done
[ "$plain" != "$(probe "$work/model" 1 "${ids[@]}")" ] || fail "q8 has changed nothing"
for kernels in scalar avx2 avx512; do
    probe "$work/near.weir" -k $kernels 1 2 >"$work/out" 2>&1 ||
        { grep -q "no $kernels" "$work/out" && continue; }
    try "$work/near.weir" -k $kernels -K 99999999 -c 1
done

# Half the memory, and what exceptions there may be; of what is near.
has_usual_memory || exit 0
need_models
cp "$shared/story/tokenizer.json" "$work/plain"
expect 0 "$WEIR" run "$work/plain" -p a --plan --ram 200M --json
share=$(key 'max(t["memory_bytes"] / t["bytes"] for t in d["tensors"] if "mlp." in t["name"])')
awk -v s="$share" 'BEGIN { exit !(s < 0.6) }' || fail "$share of BF16's memory"
