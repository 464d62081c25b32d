#!/usr/bin/env bash
# `weir run`: the text, the same from everywhere; where it ends; and what it refuses.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models
unset CDPATH

run() { expect 0 "$WEIR" run "$@"; }
once="Once upon a time"
text=", a little girl named Lily lived in a small house with her mom, dad, and her dog, Spot"

run "$shared/story" -p "$once" -n 64 --temp 0
[[ "$(cat "$work/out")" == "$text, Spot, loved to play all day. One day, Lily saw a small bird on the ground."* ]] ||
    fail "another text: $(cat "$work/out")"
says '^prompt: 6 tokens, .* tok/s, .* s; answer: 64 tokens, .*; logits [0-9a-f]{16}; end: length$'
plain=$(cat "$work/out") hash=$(grep -o 'logits [0-9a-f]*' "$work/err")

# From everywhere, by everything: the same text, the same bits.
mkdir "$work/in"
cp -r "$shared/story" "$shared/stories260K" "$work/in"
"$WEIR" pack -q "$shared/story" "$work/story.weir"
"$WEIR" pack -q "$work/in" "$work/both.weir"
printf '%s' "$once" >"$work/prompt"
same() { # same ARGUMENT...
    run "$@" -n 64 --temp 0
    [ "$(cat "$work/out")" = "$plain" ] && [ "$(grep -o 'logits [0-9a-f]*' "$work/err")" = "$hash" ] ||
        fail "another text or other bits: $*"
}
same "$work/story.weir" -f "$work/prompt" -t 1
same "$work/both.weir" --dir story -p "$once" -t 4 -u 1
same "$shared/story/model-bf16.safetensors" -p "$once" -u 2
same "$shared/story" -p "$once" -c 200
if [ -c /dev/fuse ] && [ -w /dev/fuse ] && "$WEIR" --version | grep -q 'mount yes'; then
    mkdir "$work/mnt"
    "$WEIR" mount -q "$work/story.weir" "$work/mnt"
    trap '"$WEIR" umount "$work/mnt"; rm -rf "$work"' EXIT
    same "$work/mnt" -p "$once"
    # Through .weir/store: no file of the mount was read.
    bytes=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["read_bytes"])' "$work/mnt/.weir/status.json")
    [ "$bytes" = 0 ] || fail "$bytes bytes were read from the mount's plain files"
    "$WEIR" umount "$work/mnt"
    trap 'rm -rf "$work"' EXIT
else
    echo "without a mount: no /dev/fuse, or built without it"
fi
run "$shared/stories260K/stories260K.gguf" -p "$once" -n 60 --temp 0 -q
[[ "$(cat "$work/out")" == ", there was a little girl named Lily. She loved to play outside in the park."* ]] ||
    fail "another text of the GGUF file"
[ ! -s "$work/err" ] || fail "not quiet"

# One object; ids; logits; the same choice for the same seed.
run "$work/story.weir" -p "$once" -n 20 --temp 0 --json --logits "$work/logits"
[ "$(key 'd["text"], len(d["tokens"]), d["prompt_tokens"], d["end"]')" = "('$text, Spot, loved to play', 20, 6, 'length')" ] ||
    fail "$(cat "$work/out")"
[ "$(key 'all(d[k] > 0 for k in ("prompt_tok_per_s", "gen_tok_per_s", "gb_per_s", "peak_rss_bytes", "bytes_read"))')" = True ] ||
    fail "$(cat "$work/out")"
[ "$(stat -c %s "$work/logits")" = $((20 * 2048 * 4)) ] || fail "not 20 rows of logits"
[ ! -s "$work/err" ] || fail "an object and more"
ids=$(key '" ".join(map(str, d["tokens"]))')
run "$work/story.weir" -p "$once" -n 20 --temp 0 --tokens
[ "$(cat "$work/out")" = "$ids" ] || fail "other ids"
run "$work/story.weir" -p "$once" -n 40 -s 5
first=$(cat "$work/out")
run "$work/story.weir" -p "$once" -n 40 -s 5 -t 1
[ "$(cat "$work/out")" = "$first" ] || fail "the same seed, another text"
run "$work/story.weir" -p "$once" -n 40 -s 6
[ "$(cat "$work/out")" != "$first" ] || fail "another seed, the same text"

# Where it ends: a text that begins in one token and ends in the next; the context; nothing asked for.
run "$work/story.weir" -p "$once" -n 64 --temp 0 --stop "all house"
[ "$(cat "$work/out")" = ", a little girl named Lily lived in a sm" ] || fail "$(cat "$work/out")"
says 'end: stop$'
run "$work/story.weir" -p "$once" -n 64 --temp 0 -c 16 --tokens
[ "$(wc -w <"$work/out")" = 11 ] || fail "$(wc -w <"$work/out") tokens in a context of 16"
says 'end: context$'
run "$work/story.weir" -p "$once" -n 100000 --temp 0 --tokens
[ "$(wc -w <"$work/out")" -le 507 ] || fail "more than the model takes"
run "$work/story.weir" -p "$once" -n 0
[ ! -s "$work/out" ] || fail "more than nothing"
run "$work/story.weir" -p "" -n 3 --temp 0

# What is refused, and why.
expect 1 "$WEIR" run "$work/story.weir" -p "$once" -c 3
says 'the prompt has 6 tokens, the context room for 3; make it larger with --ctx-size'
expect 1 "$WEIR" run "$work/story.weir" -p "$once" -c 513
says 'the model takes 512'
expect 1 "$WEIR" run "$work/story.weir" -p "$(yes word | head -n 600 || true)"
says 'context room for 512; make it shorter'
expect 1 "$WEIR" run "$work/story.weir"
says 'one of --prompt and --file'
expect 1 "$WEIR" run "$work/story.weir" -p a --temp -1
expect 1 "$WEIR" run "$work/story.weir" -p a --temp nan
expect 1 "$WEIR" run "$work/story.weir" -p a --top-k x
expect 1 "$WEIR" run "$work/story.weir" -p a --stop ''
expect 2 "$WEIR" run "$work/nowhere.weir" -p a
expect 2 "$WEIR" run "$work/story.weir" -f "$work/nowhere"
expect 2 "$WEIR" run "$shared/delta" -p a
says 'checkpoint-2000.safetensors and checkpoint-2400.safetensors'
expect 2 "$WEIR" run "$work/both.weir" -p a
says "choose one with --dir"
sed -i 's/"llama"/"mamba"/' "$work/in/story/config.json"
expect 4 "$WEIR" run "$work/in/story" -p a
says 'model_type mamba is not known'
