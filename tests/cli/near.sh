#!/usr/bin/env bash
# Near-lossless stores: only on demand, said by every command, within half a step, and the rest of
# the files as they were.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"
[ -x "${WEIR_GEN:-}" ] || skip "no generator"

"$WEIR_GEN" made --megabytes 12 --rows
expect 0 "$WEIR" pack made plain.weir --json
json 'd["near_lossless"] is None'
expect 0 "$WEIR" pack made near.weir --profile q8 -j1
grep -qE '^near-lossless: [0-9]+ tensors, .*, 33\.[0-9]+ dB, at most 0\.[0-9]+ of a step off; not the' \
    <<<"$out" || die "pack says: $out"
expect 0 "$WEIR" pack made near4.weir --profile q8 -j4 --json
cmp near.weir near4.weir || die "the number of threads shows"
json '33.4 < d["near_lossless"]["snr_db"] < 34 and 0.4 < d["near_lossless"]["max_error_steps"] <= 0.5'
json 'd["ratio"] > 2.2'
[ "$(stat -c %s near.weir)" -lt "$(($(stat -c %s plain.weir) * 3 / 4))" ] || die "not smaller"

# ls, tensor by tensor: linear layers, not norms, not embeddings.
expect 0 "$WEIR" ls --tensors --json near.weir
json 'd["near_lossless"]["tensors"] > 10'
json 'all((t["near_lossless"] is not None) == ("proj" in t["name"] or "lm_head" in t["name"])
    for e in d["entries"] for t in e.get("tensors", []))'
json 'all(t["near_lossless"] is None or t["coding"] == "made" for e in d["entries"] for t in e.get("tensors", []))'
expect 0 "$WEIR" ls --tensors near.weir
grep -qE 'q_proj.weight  near-lossless: 33\.[0-9]+ dB' <<<"$out" || die "ls says: $out"
grep -q '^near-lossless: ' <<<"$out" || die "ls says: $out"
expect 0 "$WEIR" ls plain.weir
grep -q near <<<"$out" && die "ls of a lossless store says: $out"

# unpack says it, and gives the same for ever; verify holds it against what was packed.
expect 0 "$WEIR" unpack near.weir out
grep -q '^near-lossless: ' <<<"$out" || die "unpack says: $out"
cmp out/config.json made/config.json || die "another file has changed"
expect 0 "$WEIR" verify near.weir --against out
expect 0 "$WEIR" verify near.weir
expect 0 "$WEIR" verify near.weir --against made
grep -q '^fine and near-lossless, as recorded' <<<"$out" || die "verify says: $out"
expect 0 "$WEIR" verify near.weir --against made --json
json 'd["ok"] and abs(d["near_lossless"]["snr_db"] - d["near_lossless_found"]["snr_db"]) < 1e-3'
json 'd["near_lossless"]["max_error_steps"] == d["near_lossless_found"]["max_error_steps"]'

# A weight that is further off than that is a difference; so is any of a lossless tensor.
file=$(cd made && ls ./*.safetensors | head -1)
where() { # the first byte of a tensor of $file
    python3 -c 'import json, struct, sys
with open(sys.argv[1], "rb") as f:
    (n,) = struct.unpack("<Q", f.read(8))
    head = json.loads(f.read(n))
name = sorted(t for t in head if sys.argv[2] in t)[0]
print(8 + n + head[name]["data_offsets"][0])' "made/$file" "$1"
}
if command -v python3 >/dev/null; then
    for tensor in proj layernorm; do
        cp -r made changed
        at=$(($(where "$tensor") + 1))
        printf '\x7e' | dd of="changed/$file" bs=1 seek="$at" conv=notrunc status=none
        expect 3 "$WEIR" verify near.weir --against changed
        grep -qE 'differs, first at byte [0-9]+' <<<"$out" || die "$tensor: $out"
        rm -r changed
    done
fi

# What is asked for is reached.
expect 0 "$WEIR" pack made near40.weir --profile q8 --q8-snr 40 --json
expect 0 "$WEIR" ls --tensors --json near40.weir
json 'all(t["near_lossless"] is None or t["near_lossless"]["snr_db"] >= 40
    for e in d["entries"] for t in e.get("tensors", []))'
expect 0 "$WEIR" pack made near3.weir --profile q8 --q8-ratio 3 --q8-embeddings --json
json 'd["ratio"] > 2.8'
expect 0 "$WEIR" ls --tensors --json near3.weir
json 'all((t["near_lossless"] is not None) == (len(t["shape"]) > 1)
    for e in d["entries"] for t in e.get("tensors", []))'
expect 0 "$WEIR" pack made near_s.weir --profile q8 --q8-step 0.2 --json
json 'abs(d["near_lossless"]["step_of_rms"] - 0.2) < 1e-6'

# Nothing to gain is said, too.
mkdir texts && words 100000 >texts/words.txt
expect 0 "$WEIR" pack texts texts.weir --profile q8
grep -q '^lossless: ' <<<"$out" || die "pack says: $out"
expect 0 "$WEIR" pack texts texts2.weir
cmp texts.weir texts2.weir || die "the profile shows where there is nothing near"

for wrong in '--q8-snr 40' '--q8-embeddings' '--profile q9' '--profile q8 --q8-snr 0' \
    '--profile q8 --q8-snr 61' '--profile q8 --q8-snr 19' '--profile q8 --q8-step 2' '--profile q8 --q8-ratio nan' \
    '--profile q8 --q8-snr 40 --q8-step 0.1' '--profile q8 --base plain.weir'; do
    # shellcheck disable=SC2086
    expect 1 "$WEIR" pack made wrong.weir $wrong
    [ ! -e wrong.weir ] || die "$wrong made a store"
done

# bench model: the same figures without a store.
expect 0 "$WEIR" bench model made --json
json 'd["near_lossless"] is None and d["layers_measured"] == len(d["layers"]) and d["ratio"] > 1.4'
expect 0 "$WEIR" bench model made --profile q8 --json
json '33.4 < d["near_lossless"]["snr_db"] < 34 and d["near_lossless"]["tensors"] == d["layers_measured"]'
json 'all(l["encode_gbps"] > 0 and l["decode_gbps"] > 0 and l["ratio"] > 2.4 for l in d["layers"])'
expect 0 "$WEIR" bench model plain.weir
grep -q '^total ' <<<"$out" || die "bench says: $out"
expect 0 "$WEIR" bench model near.weir -j1 -q
expect 0 "$WEIR" bench model "made/$file" --profile q8 --q8-snr 40
grep -q ' 40\.' <<<"$out" || die "bench says: $out"
expect 4 "$WEIR" bench model texts
expect 1 "$WEIR" bench model
expect 1 "$WEIR" bench codec made
expect 1 "$WEIR" bench codec --profile q8
