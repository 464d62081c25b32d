#!/usr/bin/env bash
# --plan: what it foretells is what a run then does, every tensor is in it once, and all adds up.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

make_model 24
usual=true
has_usual_memory || usual=false
export XDG_CACHE_HOME=$work/cache
options=(-c 64 -t 2 -u 16 --temp 0 --ignore-eos --json)
run() { expect 0 "$WEIR" run "$@" -p "Once upon a time there was a little girl" "${options[@]}"; }
least=$(least_of "$work/model.weir" -p a "${options[@]}")

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
# Every tensor once, and all numbers add up; the safetensors header says what there is.
cat >"$work/adds_up.py" <<'PYTHON'
import glob, json, struct, sys
plan = json.load(open(sys.argv[1]))
there = {}
for path in glob.glob(sys.argv[2] + "/*.safetensors"):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    header.pop("__metadata__", None)
    there |= {name: t["data_offsets"][1] - t["data_offsets"][0] for name, t in header.items()}
names = [t["name"] for t in plan["tensors"]]
assert sorted(names) == sorted(there), "not every tensor once"
assert all(there[t["name"]] == t["bytes"] for t in plan["tensors"]), "other sizes"
forms = plan["forms"]
for form, sums in forms.items():
    mine = [t for t in plan["tensors"] if t["form"] == form]
    assert sums["tensors"] == len(mine) and sums["bytes"] == sum(t["bytes"] for t in mine), form
    assert sums["memory_bytes"] == sum(t["memory_bytes"] for t in mine), form
    assert sums["bytes_per_token"] <= sums["bytes"], form
kept = sum(forms[f]["bytes"] for f in ("resident", "plain", "vector"))
assert kept + forms["streamed"]["bytes"] == sum(there.values()), "kept and streamed are not all"
assert all(t["memory_bytes"] == 0 for t in plan["tensors"] if t["form"] == "streamed")
assert forms["resident"]["memory_bytes"] + forms["plain"]["memory_bytes"] == plan["weights_memory_bytes"]
config = json.load(open(sys.argv[2] + "/config.json"))
head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
assert plan["attention_bytes_per_token"] == \
    2 * 4 * config["num_hidden_layers"] * config["num_key_value_heads"] * head * (plan["context"] // 2)
if plan["ram_bytes"] and sys.argv[3] == "true":
    assert plan["weights_memory_bytes"] + plan["other_memory_bytes"] <= plan["ram_bytes"], "over budget"
if plan["expected_tok_per_s"] is None:
    assert plan["seconds_per_token"] is None and plan["limited_by"] is None
else:
    parts = plan["seconds_per_token"]
    assert set(parts) == {"memory", "decode", "copy", "disk", "attention", "rows", "threads"}
    assert abs(plan["expected_tok_per_s"] * sum(parts.values()) - 1) < 1e-4
    assert parts[plan["limited_by"]] == max(parts.values()), "another limit"
PYTHON
adds_up() { python3 "$work/adds_up.py" "$work/out" "$work/model" $usual || fail "the plan does not add up: $*"; }
plans=0
check_plans() {
    for way in "model.weir --ram $((least + 8))MiB" "model --keep plain --ram $((least + 12))MiB" \
        "model.weir --keep none" "model -t 64"; do
        # shellcheck disable=SC2086  # options
        expect 0 "$WEIR" run "$work/"$way --plan -c 64 -u 16 --json
        adds_up "$way"
        plans=$((plans + 1))
    done
}
check_plans
if $usual; then
    cd "$work"
    expect 0 "$WEIR" doctor --json "$work/model.weir"
    [ "$(key 'all(r > 0 for k in ("plain", "resident", "store", "files") for r in d[k + "_gb_per_s"])')" = True ] ||
        fail "$(cat "$work/out")"
    [ "$(key 'd["disk_gb_per_s"] > 0 and d["round_us"] > 0 and d["row_ns"] >= 0')" = True ] || fail "$(cat "$work/out")"
    expect 2 "$WEIR" doctor "$work/nowhere"
    printf 'four' >"$work/small"
    expect 0 "$WEIR" doctor --json "$work/small"
    [ "$(key 'd["disk_gb_per_s"]')" = 0.0 ] || fail "a rate of four bytes: $(cat "$work/out")"
    [ -z "$(find "$work" -name '*weir-doctor*')" ] || fail "the file that was made is still there"
    # Figures of a quiet machine, so that what follows does not depend on this one.
    python3 - "$work/cache/weir/doctor.json" <<'PYTHON'
import json, sys
d = json.load(open(sys.argv[1]))
d.update(threads=2, plain_gb_per_s=[12, 20], resident_gb_per_s=[10, 18], store_gb_per_s=[1, 2],
         files_gb_per_s=[6, 12], disk_gb_per_s=50, round_us=10, row_ns=10)
json.dump(d, open(sys.argv[1], "w"))
PYTHON
    check_plans
    limit() { # limit LIMIT ARGUMENT...: what a plan says limits it
        local want=$1
        shift
        expect 0 "$WEIR" run "$@" --plan --json
        [ "$(key 'd["limited_by"]')" = "$want" ] || fail "limited by $(key 'd["limited_by"]'): $*"
    }
    limit decode "$work/model.weir" --keep none
    none=$(key 'd["expected_tok_per_s"]')
    # What is wrong about a GPU says nothing about the processor; nor does a GPU.
    for gpu in None 5 '{}' '{"name": "a", "memory_bytes": 1e11, "copy_gb_per_s": 4e3, "to_device_gb_per_s": 55.0,
        "to_host_gb_per_s": 50.0, "decode_gb_per_s": 1e3, "shapes": [3, {"rows": 1}]}'; do
        python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); d["gpu"] = eval(sys.argv[2])
json.dump(d, open(sys.argv[1], "w"))' "$work/cache/weir/doctor.json" "$gpu"
        limit decode "$work/model.weir" --keep none
        [ "$(key 'd["expected_tok_per_s"]')" = "$none" ] || fail "another rate with \"gpu\": $gpu"
    done
    limit copy "$work/model" --keep none
    limit memory "$work/model.weir" -c 16 -t 1
    expect 0 "$WEIR" run "$work/model.weir" --plan
    grep -qE '^expected: [0-9.e+]+ tok/s, limited by (memory|attention|rows|threads)$' "$work/out" || fail "$(cat "$work/out")"
    grep -qE '^resident +[0-9.]+ [kM]B .* model.layers.0.mlp.down_proj.weight$' "$work/out" || fail "no such line: $(tail -n 5 "$work/out")"
    expect 0 "$WEIR" run "$work/model.weir" --plan --json
    [ "$(key "d['expected_tok_per_s'] > $none")" = True ] || fail "keeping weights does not help"
    printf 'nonsense' >"$work/cache/weir/doctor.json"
    expect 0 "$WEIR" run "$work/model.weir" --plan --json
    [ "$(key 'd["expected_tok_per_s"]')" = None ] || fail "nonsense taken for a measure"
fi
echo "$plans plans"
