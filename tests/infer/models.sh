#!/usr/bin/env bash
# Several models at once: each answers each prompt as it would alone, and both are held within one --ram.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

a=$shared/story b=$shared/stories260K/stories260K.gguf
how=(-n 12 --temp 0)
prompts=("Once upon a time" "Lily and her mom" "A")

# Alone, then in turn.
: >"$work/alone"
for prompt in "${prompts[@]}"; do
    for model in "$a" "$b"; do
        expect 0 "$WEIR" run "$model" -p "$prompt" "${how[@]}"
        { echo "== $model" && cat "$work/out"; } >>"$work/alone"
        grep -o 'logits [0-9a-f]*' "$work/err" >>"$work/hashes"
    done
done
given=()
for prompt in "${prompts[@]}"; do given+=(-p "$prompt"); done
expect 0 "$WEIR" run -m "$a" -m "$b" "${given[@]}" "${how[@]}"
cmp "$work/out" "$work/alone" || fail "other answers: $(cat "$work/out")"
grep -o 'logits [0-9a-f]*' "$work/err" | cmp - "$work/hashes" || fail "other bits"
says "^together: $a [0-9.]+ MB; $b [0-9.]+ MB; peak RSS [0-9.]+ MB\$"
says "^$b: prompt: "

# Lines of a file; one object.
for prompt in "${prompts[@]}"; do printf '"%s"\n' "$prompt"; done >"$work/p.jsonl"
expect 0 "$WEIR" run -m "$a" -m "$b" -f "$work/p.jsonl" "${how[@]}" -q
cmp "$work/out" "$work/alone" || fail "other answers to a file: $(cat "$work/out")"
[ ! -s "$work/err" ] || fail "not quiet"
expect 0 "$WEIR" run -m "$a" -m "$b" -f "$work/p.jsonl" "${how[@]}" --json
[ "$(key '[len(m["answers"]) for m in d["models"]], [a["prompt"] for a in d["models"][1]["answers"]]')" = "([3, 3], [0, 1, 2])" ] ||
    fail "$(cat "$work/out")"
[ "$(key '"\n".join("logits " + m["answers"][i]["logits_hash"] for i in range(3) for m in d["models"])')" = \
    "$(cat "$work/hashes")" ] || fail "other bits in the object"
[ "$(key '[m["model"] for m in d["models"]]')" = "['$a', '$b']" ] || fail "$(cat "$work/out")"
[ "$(key 'd["vram_limit_bytes"], d["peak_vram_bytes"], d["models"][0]["vram_bytes"]')" = "(None, 0, 0)" ] || fail "$(cat "$work/out")"

# A file that is no list of prompts is one.
printf 'Once upon a time' >"$work/text"
expect 0 "$WEIR" run -m "$b" -m "$a" -m "$b" -f "$work/text" "${how[@]}"
[ "$(grep -c '^== ' "$work/out")" = 3 ] || fail "not three answers: $(cat "$work/out")"

# Within one --ram, which is none of a model's own.
if ! grep -aq __asan_init "$WEIR" && ! grep -aq __tsan_init "$WEIR"; then
    for seed in 1 2; do
        "$WEIR_GEN" "$work/$seed" --megabytes 24 --seed $seed >"$work/out"
        cp "$shared/story/tokenizer.json" "$work/$seed"
    done
    options=(-c 64 -t 2 -u 16 -n 4 --temp 0 --ignore-eos -p "Once upon a time" --json)
    expect 0 "$WEIR" run -m "$work/1" -m "$work/2" "${options[@]}"
    most=$(key 'd["peak_rss_bytes"]') hash=$(key '[m["answers"][0]["logits_hash"] for m in d["models"]]')
    for ram in 34 44 4096; do
        expect 0 "$WEIR" run -m "$work/1" -m "$work/2" "${options[@]}" --ram "${ram}MiB"
        [ "$(key '[m["answers"][0]["logits_hash"] for m in d["models"]]')" = "$hash" ] || fail "other bits with --ram ${ram}MiB"
        [ "$(key "d['peak_rss_bytes'] <= $ram << 20")" = True ] || fail "$(key 'd["peak_rss_bytes"]') bytes of $ram MiB"
        [ "$(key 'all(m["kept_bytes"] > 0 for m in d["models"])')" = True ] || fail "one model has all of $ram MiB"
    done
    [ "$most" -gt $((44 << 20)) ] || fail "--ram was no limit: $most bytes without"
    expect 6 "$WEIR" run -m "$work/1" -m "$work/2" "${options[@]}" --ram 4M
fi

# What is refused.
for task in --chat --plan "--perplexity $work/text" "--logits $work/l -p a" "-b 2 -f $work/p.jsonl"; do
    # shellcheck disable=SC2086  # options
    expect 1 "$WEIR" run -m "$a" -m "$b" $task
    says 'several models answer --prompt and --file'
done
expect 1 "$WEIR" run "$a" -m "$b" -p a
says 'the model is given twice'
many=()
for ((i = 0; i < 17; i++)); do many+=(-m "$a"); done
expect 1 "$WEIR" run "${many[@]}" -p a
says 'too many times'
expect 2 "$WEIR" run -m "$a" -m "$work/nowhere.weir" -p a
says 'nowhere.weir'
# Several prompts to one model: each in turn, as alone.
expect 0 "$WEIR" run -m "$a" "${given[@]}" "${how[@]}"
sed -n 's/^== prompt //p' "$work/out" | tr '\n' ' ' | grep -qx '1 2 3 ' || fail "not three answers: $(cat "$work/out")"
grep -v '^== ' "$work/out" >"$work/texts"
awk -v name="== $a" '/^== / { mine = $0 == name; next } mine' "$work/alone" | cmp - "$work/texts" || fail "other answers in turn"
grep -o 'logits [0-9a-f]*' "$work/err" >"$work/turns"
awk 'NR % 2' "$work/hashes" | cmp - "$work/turns" || fail "other bits in turn"
expect 0 "$WEIR" run "$a" "${given[@]}" "${how[@]}" --json
[ "$(key 'len(d["models"]), [x["prompt"] for x in d["models"][0]["answers"]]')" = "(1, [0, 1, 2])" ] || fail "$(cat "$work/out")"
for task in --chat --plan "--logits $work/l"; do
    # shellcheck disable=SC2086  # options
    expect 1 "$WEIR" run "$a" "${given[@]}" $task
    says 'several --prompt are answered one after the other'
done
# What is of the whole device is called so, where models share it.
expect 0 "$WEIR" run -m "$a" -m "$b" -p A -n 2 --json
[ "$(key '[k for m in d["models"] for x in (m, m["answers"][0]) for k in ("peak_vram_bytes", "vram_measured_bytes") if k in x]')" = "[]" ] ||
    fail "a device's peak for a model's: $(cat "$work/out")"
[ "$(key '[m["device_peak_vram_bytes"] for m in d["models"]]')" = "[0, 0]" ] || fail "$(cat "$work/out")"
