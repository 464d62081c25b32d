#!/usr/bin/env bash
# On a GPU: every tier, budget, depth and place in a batch gives the same bits, whatever the streams' timing;
# they are near the processor's; no budget is passed.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
unset WEIR_DEVICE WEIR_DEVICE_TEST
export XDG_CACHE_HOME=$work/cache
gen=$WEIR_BUILD/tests/gen_store
tokenizer=$WEIR_SOURCE/tests/infer/tokenizers/smollm.json

"$gen" "$work/small.weir" --shape 192,328,5,6,2,1003 --tokenizer "$tokenizer" --seed 2 >"$work/out"
code=0
"$WEIR" run "$work/small.weir" -p z -n 1 --device cuda >"$work/out" 2>"$work/err" || code=$?
if [ "$code" != 0 ] && grep -q 'no CUDA device\|built without CUDA\|older than compute' "$work/err"; then
    echo "skipped: $(cat "$work/err")"
    exit 77
fi
[ "$code" = 0 ] || fail "the first run: $(cat "$work/err")"

prompt=$(printf 'z%.0s' {1..90})
options=(-p "$prompt" -n 24 --temp 0 --ignore-eos --json --device cuda)
count=0 hash=
same() { # same STORE OPTION...: the bits of the first such run, within --vram
    local store=$1
    shift
    expect 0 "$WEIR" run "$store" "${options[@]}" "$@"
    [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "other bits: $* ${WEIR_DEVICE_TEST:-} $(cat "$work/out")"
    count=$((count + 1))
}
bytes_of_plan() { key 'd["other_vram_bytes"], d["least_weights_bytes"], d["most_weights_bytes"]' | tr -d '(),'; }

# near STORE: the first logits of a prompt beside the processor's, by their size.
near() {
    expect 0 "$WEIR" run "$1" -p "$prompt" -n 1 --temp 0 --device cpu --logits "$work/cpu"
    expect 0 "$WEIR" run "$1" -p "$prompt" -n 1 --temp 0 --device cuda --logits "$work/gpu"
    python3 - "$work/cpu" "$work/gpu" <<'PYTHON'
import array, math, sys
a, b = (array.array("f", open(f, "rb").read()) for f in sys.argv[1:])
error = math.dist(a, b) / math.hypot(*a)
print(f"off the processor's by {error:.2e}")
sys.exit(not (len(a) == len(b) and error < 2e-2))
PYTHON
}

# chosen STORE: ids are those that the host's samplers choose, in every tier, and only they need the logits.
chosen() {
    local how tier ids
    for how in "--temp 0" "--temp 0 --repeat-penalty 1.4" "--temp 0.8 -s 5" "--temp 1.5 --top-k 200 -s 6 --repeat-penalty 1.2" \
        "--temp 1 --top-k 0 -s 7"; do
        # shellcheck disable=SC2086  # options
        WEIR_DEVICE_TEST=host expect 0 "$WEIR" run "$1" -p "$prompt" -n 40 --ignore-eos --device cuda --json $how
        ids=$(key 'd["tokens"]') hash=$(key 'd["logits_hash"]')
        [ "$(key 'd["chosen_on_device"]')" = 0 ] || fail "the device chose: $how"
        for tier in auto gpu; do
            # shellcheck disable=SC2086
            expect 0 "$WEIR" run "$1" -p "$prompt" -n 40 --ignore-eos --device cuda --json --decode $tier $how
            [ "$(key 'd["tokens"], d["logits_hash"]')" = "($ids, '$hash')" ] || fail "other ids: $tier $how $(cat "$work/out")"
            [ "$(key 'd["chosen_on_device"]')" = "$([[ $how = *'-k 0'* ]] && echo 0 || echo 40)" ] || fail "who chose: $how $(cat "$work/out")"
        done
        # shellcheck disable=SC2086
        expect 0 "$WEIR" run "$1" -p "$prompt" -n 40 --ignore-eos --device cuda --tokens -q $how
        [ "[$(sed 's/ /, /g' "$work/out")]" = "$ids" ] || fail "other ids without logits: $how $(cat "$work/out")"
    done
    expect 0 "$WEIR" run "$1" "${options[@]}" --decode raw
    hash=$(key 'd["logits_hash"]')
}

each() { # each STORE: all ways
    local store=$1 tier vram share other least most
    expect 0 "$WEIR" run "$store" "${options[@]}" --decode raw
    hash=$(key 'd["logits_hash"]')
    [ "$(key 'd["device"], d["decode"], d["layers"]["streamed"]')" = "('cuda:0', 'raw', 0)" ] || fail "$(cat "$work/out")"
    near "$store" || fail "not the processor's logits: $store"
    for tier in auto cpu gpu fused raw; do
        expect 0 "$WEIR" run "$store" --plan --json --device cuda --decode $tier --depth 3 -c 114 -u 90
        read -r other least most <<<"$(bytes_of_plan)"
        for share in 0 1 2; do
            vram=$((other + least + (most - least) * share / 2))
            same "$store" --decode $tier --vram $vram --depth $((3 - share))
            [ "$(key "d['peak_vram_bytes'] <= $vram")" = True ] || fail "$(key 'd["peak_vram_bytes"]') bytes of $vram: $tier"
        done
        # Streams that lag, slots that hold NaNs when they are let go.
        export WEIR_DEVICE_TEST=delay=300,seed=$most,poison
        same "$store" --decode $tier --vram $((other + least + (most - least) / 4)) --depth 3
        unset WEIR_DEVICE_TEST
    done
    chosen "$store"
    for n in 0 3 auto; do same "$store" --decode gpu --cache-layers $n; done
    same "$store" --decode cpu --cache-layers 2
    WEIR_DEVICE_TEST=queue same "$store"
}
"$gen" "$work/other.weir" --shape 256,704,6,4,2,4000 --tokenizer "$tokenizer" >"$work/out"
part=${1:?small, other or together}
if [ "$part" != together ]; then
    each "$work/$part.weir"
    echo "$count ways"
    exit 0
fi

# Places in a batch: each text as alone.
for i in 1 2 3 4 5 6 7; do printf '"%s"\n' "${prompt:0:$((i * 11))}"; done >"$work/p.jsonl"
for b in 1 3 7; do
    expect 0 "$WEIR" run "$work/other.weir" -f "$work/p.jsonl" -b $b -n 12 --temp 0 --ignore-eos --device cuda
    grep -o '"logits_hash": *"[0-9a-f]*"' "$work/out" >"$work/hashes.$b"
    cmp "$work/hashes.1" "$work/hashes.$b" || fail "other bits, $b at a time"
    # Drawn, some texts ending before others, places taken again while a pass is on its way.
    expect 0 "$WEIR" run "$work/other.weir" -f "$work/p.jsonl" -b $b -n 30 -s 3 --temp 1.2 -r a -r e --device cuda
    cp "$work/out" "$work/drawn.$b"
    cmp "$work/drawn.1" "$work/drawn.$b" || fail "other texts, $b at a time"
done
[ "$(wc -l <"$work/hashes.1")" = 7 ] || fail "not seven answers"

# Two models in one budget, which is not passed; too little says what would do.
for model in small other; do
    expect 0 "$WEIR" run "$work/$model.weir" --plan --json --device cuda -c 114 -u 90
    read -r other least most <<<"$(bytes_of_plan)"
    total=$((${total:-0} + other + least + (most - least) / 2))
    expect 0 "$WEIR" run "$work/$model.weir" "${options[@]}"
    hashes="${hashes:-}$(key 'd["logits_hash"]') "
done
expect 0 "$WEIR" run -m "$work/small.weir" -m "$work/other.weir" "${options[@]}" --vram "$total"
[ "$(key "d['peak_vram_bytes'] <= $total")" = True ] || fail "$(key 'd["peak_vram_bytes"]') of $total"
[ "$(key '" ".join(m["answers"][0]["logits_hash"] for m in d["models"])') " = "$hashes" ] || fail "other bits of two models"
expect 6 "$WEIR" run "$work/other.weir" -p z --vram 100k
grep -q 'would' "$work/err" || fail "not what would do: $(cat "$work/err")"

# What a GPU does not take goes to the processor, unless it was asked for.
if [ -f "$shared/story/model.safetensors" ]; then
    expect 4 "$WEIR" run "$shared/story/model.safetensors" -p a --device cuda
    grep -q 'the GPU takes BF16' "$work/err" || fail "$(cat "$work/err")"
    expect 0 "$WEIR" run "$shared/story/model.safetensors" -p a -n 1
    grep -q 'on cpu, not the GPU' "$work/err" || fail "$(cat "$work/err")"
fi
