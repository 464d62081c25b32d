#!/usr/bin/env bash
# models/story near-lossless beside lossless: what it takes, how well it foresees texts that the
# lossless model has written, and for how long both write the same.
#     near_story.sh WEIR STORY_DIR > near_story.csv
set -euo pipefail
weir=$1 story=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/near.XXXXXX")
trap 'rm -rf "$work"' EXIT
key() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

mkdir "$work/F32" "$work/BF16"
cp "$story"/*.json "$work/F32" && cp "$story"/*.json "$work/BF16"
cp "$story/model.safetensors" "$work/F32/model.safetensors"
cp "$story/model-bf16.safetensors" "$work/BF16/model.safetensors"
for seed in $(seq 16); do
    "$weir" run "$work/F32" -p 'Once upon a time' -n 300 --temp 1 --seed "$seed" -q 2>/dev/null
    echo
done >"$work/texts"
echo "dtype,profile,near_tensors,near_plain_bytes,near_stored_bytes,near_ratio,file_ratio,snr_db,max_error_steps,tokens,perplexity,greedy_characters,same_as_lossless"
for type in F32 BF16; do
    for profile in lossless q8 "q8 --q8-snr 40" "q8 --q8-snr 46"; do
        # shellcheck disable=SC2086
        "$weir" pack -q -f --profile $profile "$work/$type" "$work/near.weir"
        "$weir" ls --tensors --json "$work/near.weir" >"$work/ls"
        near='[t for e in d["entries"] for t in e.get("tensors", []) if t["near_lossless"]]'
        sizes=$(key "(lambda n: '%d,%d,%d,%.4f' % (len(n), sum(t['plain_bytes'] for t in n), sum(t['stored_bytes'] for t in n),
            sum(t['plain_bytes'] for t in n) / max(1, sum(t['stored_bytes'] for t in n))))($near)" <"$work/ls")
        whole=$(key "'%.4f' % d['ratio']" <"$work/ls")
        quality=$(key "'%.3f,%.4f' % (d['near_lossless']['snr_db'], d['near_lossless']['max_error_steps']) if d['near_lossless'] else ','" <"$work/ls")
        "$weir" run "$work/near.weir" --perplexity "$work/texts" --json >"$work/ppl"
        "$weir" run "$work/near.weir" -p 'Once upon a time' -n 256 --temp 0 -q >"$work/greedy" 2>/dev/null
        [ "$profile" != lossless ] || cp "$work/greedy" "$work/first"
        same=$(python3 -c 'import sys
a, b = (open(f).read() for f in sys.argv[1:])
n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
print("%d,%d" % (len(a), n))' "$work/first" "$work/greedy")
        echo "$type,$profile,$sizes,$whole,$quality,$(key 'd.get("counted", d.get("tokens"))' <"$work/ppl"),$(key '"%.4f" % d["perplexity"]' <"$work/ppl"),$same"
    done
done
