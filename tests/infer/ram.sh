#!/usr/bin/env bash
# --ram: never more than that, the same bits with any; what is too little says what would do. --plan: what
# it foretells is what a run then does.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

says() { grep -qE -- "$1" "$work/err" || fail "\"$1\" is not in: $(cat "$work/err")"; }
expect() { # expect CODE COMMAND...: its output in $work/out and $work/err
    local want=$1 code=0
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" = "$want" ] || fail "exit code $code, not $want: $* $(cat "$work/err")"
}
key() { # key EXPRESSION: of the object in $work/out
    python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/out" "$1"
}
"$WEIR_GEN" "$work/model" --megabytes 24 --seed 1 >"$work/out"
cp "$shared/story/tokenizer.json" "$work/model"
"$WEIR" pack -q "$work/model" "$work/model.weir"
export XDG_CACHE_HOME=$work/cache
options=(-c 64 -t 2 -u 16 --temp 0 --ignore-eos --json)
run() { expect 0 "$WEIR" run "$@" -p "Once upon a time there was a little girl" "${options[@]}"; }

# Under AddressSanitizer memory is another thing.
limited=true
! grep -aq __asan_init "$WEIR" && ! grep -aq __tsan_init "$WEIR" || limited=false

# The least that would do, and that does.
expect 6 "$WEIR" run "$work/model.weir" --ram 1M -p a "${options[@]}"
least=$(grep -oE '[0-9]+MiB would be' "$work/out" | grep -oE '^[0-9]+') || fail "no least: $(cat "$work/out")"
run "$work/model.weir" -n 8
hash=$(key 'd["logits_hash"]') most=$(key 'd["peak_rss_bytes"]')
count=0
for source in "$work/model.weir" "$work/model"; do
    for ram in $((least + 1)) $((least + 8)) 4096; do
        for form in resident plain none; do
            [ "$form" != none ] || [ "$ram" = $((least + 1)) ] || continue
            run "$source" -n 8 --ram "${ram}MiB" --keep $form
            [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "other bits: $source $ram $form"
            $limited && [ "$(key "d['peak_rss_bytes'] > $ram << 20")" = True ] &&
                fail "$(key 'd["peak_rss_bytes"]') bytes of $ram MiB: $source $form"
            count=$((count + 1))
        done
    done
done
if $limited; then
    run "$work/model.weir" -n 2 --ram "$((least + 1))MiB"
    [ "$(key "d['peak_rss_bytes'] < $most")" = True ] || fail "as much as without --ram"
    # The same under a ceiling of the system's: what is kept is all that grows.
    code=0
    (ulimit -d $(((least + 60) * 1024)) && "$WEIR" run "$work/model.weir" --ram "$((least + 20))MiB" -n 8 \
        -p "Once upon a time there was a little girl" "${options[@]}") >"$work/out" 2>"$work/err" || code=$?
    [ "$code" = 0 ] || fail "under ulimit: $code $(cat "$work/err")"
    [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "other bits under ulimit"
fi

# What is planned: so many bytes streamed for each token, and kept.
expect 0 "$WEIR" run "$work/model.weir" --plan --ram "$((least + 8))MiB" "${options[@]}"
[ "$(key 'd["expected_tok_per_s"]')" = None ] || fail "a rate that nobody has measured"
each=$(key 'd["forms"]["streamed"]["bytes_per_token"]')
[ "$each" -gt 1000000 ] || fail "nothing streams: $(cat "$work/out")"
[ "$(key "d['weights_memory_bytes'] + d['other_memory_bytes'] <= $((least + 8)) << 20")" = True ] || fail "over budget"
run "$work/model.weir" --ram "$((least + 8))MiB" -n 4
four=$(key 'd["bytes_read"]')
run "$work/model.weir" --ram "$((least + 8))MiB" -n 14
awk -v n="$(($(key 'd["bytes_read"]') - four))" -v each="$each" \
    'BEGIN { exit !(n > 8 * each && n < 13 * each) }' ||
    fail "planned $each bytes a token, read $(($(key 'd["bytes_read"]') - four)) for ten"
if $limited; then
    cd "$work"
    expect 0 "$WEIR" doctor --json "$work/model.weir"
    python3 -c 'import json, sys; a, b = (json.load(open(f)) for f in sys.argv[1:])
sys.exit(a.keys() != b.keys() or any(a[k] != b[k] and not abs(a[k] / b[k] - 1) < 1e-3 for k in a))' \
        "$work/out" "$work/cache/weir/doctor.json" || fail "what is said is not what is kept"
    [ "$(key 'all(d[k] > 0 for k in ("plain_gb_per_s", "resident_gb_per_s", "decode_gb_per_s", "disk_gb_per_s"))')" = True ] ||
        fail "$(cat "$work/out")"
    # Figures of a quiet machine, so that what follows does not depend on this one.
    python3 - "$work/cache/weir/doctor.json" <<'PYTHON'
import json, sys
d = json.load(open(sys.argv[1]))
d.update(plain_gb_per_s=20.0, resident_gb_per_s=18.0, decode_gb_per_s=2.0, disk_gb_per_s=50.0)
json.dump(d, open(sys.argv[1], "w"))
PYTHON
    expect 0 "$WEIR" run "$work/model.weir" --plan --keep none --json
    [ "$(key 'd["expected_tok_per_s"] > 0, d["limited_by"]')" = "(True, 'decode')" ] || fail "$(cat "$work/out")"
    none=$(key 'd["expected_tok_per_s"]')
    # What is wrong about a GPU says nothing about the processor; nor does a GPU.
    for gpu in None 5 '{}' '{"name": "a", "memory_bytes": 1e11, "copy_gb_per_s": 4e3, "to_device_gb_per_s": 55.0,
        "to_host_gb_per_s": 50.0, "decode_gb_per_s": 1e3, "shapes": [3, {"rows": 1}]}'; do
        python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); d["gpu"] = eval(sys.argv[2])
json.dump(d, open(sys.argv[1], "w"))' "$work/cache/weir/doctor.json" "$gpu"
        expect 0 "$WEIR" run "$work/model.weir" --plan --keep none --json
        [ "$(key 'd["expected_tok_per_s"]')" = "$none" ] || fail "another rate with \"gpu\": $gpu"
    done
    expect 0 "$WEIR" run "$work/model.weir" --plan
    grep -qE '^expected: [0-9.e+]+ tok/s, limited by (memory|disk|decode)$' "$work/out" || fail "$(cat "$work/out")"
    grep -qE '^resident +[0-9.]+ [kM]B .* model.layers.0.mlp.down_proj.weight$' "$work/out" || fail "no such line: $(tail -n 5 "$work/out")"
    expect 0 "$WEIR" run "$work/model.weir" --plan --json
    [ "$(key "d['expected_tok_per_s'] > $none")" = True ] || fail "keeping weights does not help"
    printf 'nonsense' >"$work/cache/weir/doctor.json"
    expect 0 "$WEIR" run "$work/model.weir" --plan --json
    [ "$(key 'd["expected_tok_per_s"]')" = None ] || fail "nonsense taken for a measure"
fi
echo "$count budgets from $least MiB, $hash"
