#!/usr/bin/env bash
# The benchmark's figures are there, and made-up weights are as small as they must be.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

expect 0 "$WEIR" bench codec --size 16M --repeat 1 -j 2 --json
json 'all(set(r) == {"variant", "dtype", "bits_per_weight", "encode_gbps", "decode_gbps", "threads"} for r in d)'
json '{r["variant"] for r in d} >= {"scalar", "memcpy", "zstd-3"} and {r["threads"] for r in d} == {1, 2}'
json 'all(r["encode_gbps"] > 0 and r["decode_gbps"] > 0 for r in d)'
# Bits a weight do not depend on the kernel or the threads, and on 32 MB and more stay at most 10.52.
json 'len({r["bits_per_weight"] for r in d if r["variant"] in ("scalar", "avx2", "avx512")}) == 1'
json 'all(r["bits_per_weight"] <= 10.52 for r in d if r["variant"] == "scalar")'
expect 0 "$WEIR" bench codec --size 2M --repeat 1 -j 1 --dtype all
for dtype in bf16 f16 f32 f32_bf16 f64 f8_e4m3 f8_e5m2 i8; do
    grep -qE "^scalar +$dtype +1 " <<<"$out" || die "no $dtype in: $out"
done

[ -x "${WEIR_GEN:-}" ] || exit 0
"$WEIR_GEN" made --megabytes 6 --shards 2
"$WEIR_GEN" again --megabytes 6 --shards 2
same_tree made again
expect 0 "$WEIR" bench codec --file made/model-00001-of-00002.safetensors --repeat 1 -j 1 --json
json 'd and all(r["dtype"] == "BF16" for r in d)'
expect 4 "$WEIR" bench codec --file made/config.json
expect 2 "$WEIR" bench codec --file nowhere
