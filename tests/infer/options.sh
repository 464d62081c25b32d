#!/usr/bin/env bash
# Each option that chooses how a text goes on, by what it does: what a user of other runners expects of
# the same name.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

story=$shared/story
once="Once upon a time"
run() { expect 0 "$WEIR" run "$story" -p "$once" "$@"; }
text_of() { # text_of ARGUMENT...
    run "$@" -q
    cat "$work/out"
}

# Choosing: what leaves one token to choose is greedy, whatever the temperature.
greedy=$(text_of -n 40 --temp 0)
for only in "--top-k 1" "--top-p 0" "--min-p 1" "--temp 0 --top-k 0 --top-p 1 --min-p 0"; do
    # shellcheck disable=SC2086  # options
    [ "$(text_of -n 40 --temp 5 $only -s 3)" = "$greedy" ] || fail "$only is not greedy"
done
[ "$(text_of -n 40 --temp 5 -s 3)" != "$greedy" ] || fail "--temp 5 is greedy"
wild=$(text_of -n 40 --temp 5 --top-k 0 --top-p 1 --min-p 0 -s 3)
for less in "--top-k 5 --top-p 1 --min-p 0" "--top-k 0 --top-p 0.5 --min-p 0" "--top-k 0 --top-p 1 --min-p 0.1"; do
    # shellcheck disable=SC2086
    [ "$(text_of -n 40 --temp 5 -s 3 $less)" != "$wild" ] || fail "$less takes nothing away"
done
[ "$(text_of -n 40)" = "$(text_of -n 40 --temp 0.8 --top-k 40 --top-p 0.95 --min-p 0.05 --repeat-penalty 1 --seed 0)" ] ||
    fail "the defaults are not what --help says"
repeated() { # repeated ARGUMENT...: how many of 60 tokens were there before
    run -n 60 --temp 0 --json "$@"
    key 'len(d["tokens"]) - len(set(d["tokens"]))'
}
[ "$(repeated --repeat-penalty 100)" -lt "$(($(repeated) / 4))" ] || fail "--repeat-penalty changes nothing"

# Ends: every EOS of generation_config.json; none with --ignore-eos; -n -1 goes on to one, or to the end of the context.
run -n 20 --temp 0 --json
third=$(key 'd["tokens"][2]') fifth=$(key 'd["tokens"][4]') hash=$(key 'd["logits_hash"]')
cp -r "$story" "$work/model"
for list in "[2, $fifth, $third]" "$third"; do
    printf '{"bos_token_id": 1, "eos_token_id": %s}' "$list" >"$work/model/generation_config.json"
    expect 0 "$WEIR" run "$work/model" -p "$once" -n 20 --temp 0 --json
    [ "$(key 'd["end"], len(d["tokens"])')" = "('eos', 2)" ] || fail "EOS $list: $(cat "$work/out")"
done
expect 0 "$WEIR" run "$work/model" -p "$once" -n -1 --temp 0 --json
[ "$(key 'd["end"]')" = eos ] || fail "-n -1: $(cat "$work/out")"
expect 0 "$WEIR" run "$work/model" -p "$once" -n 20 --temp 0 --ignore-eos --json
[ "$(key 'd["logits_hash"], d["end"]')" = "('$hash', 'length')" ] || fail "--ignore-eos: $(cat "$work/out")"
expect 0 "$WEIR" run "$work/model" -p "$once" -n -1 -c 50 --temp 0 --ignore-eos --json
[ "$(key 'd["end"], len(d["tokens"]) + d["prompt_tokens"]')" = "('context', 51)" ] || fail "-n -1 -c 50: $(cat "$work/out")"
expect 0 "$WEIR" run "$work/model" -p "$once" --n-predict -1 --temp 0 --ignore-eos --json
[ "$(key 'd["end"], len(d["tokens"]) + d["prompt_tokens"]')" = "('context', 513)" ] || fail "-n -1: $(cat "$work/out")"
expect 1 "$WEIR" run "$story" -p "$once" -n -2

# What an object says; the same as a line.
run -n 5 --temp 0 --json
[ "$(key '{"text", "tokens", "prompt_tokens", "prompt_tok_per_s", "gen_tok_per_s", "gb_per_s", "logits_hash",
    "peak_rss_bytes", "peak_vram_bytes", "bytes_read", "seconds", "end"} - set(d)')" = "set()" ] || fail "$(cat "$work/out")"
[ "$(key 'set(d["seconds"]) >= {"load", "prompt", "generate"}')" = True ] || fail "$(cat "$work/out")"
run -n 5 --temp 0
says '^prompt: [0-9]+ tokens, [0-9.]+ tok/s, [0-9.]+ s; answer: 5 tokens, [0-9.]+ tok/s, [0-9.]+ s, .*/s of weights; load: [0-9.]+ s; read .*; peak RSS .*; logits [0-9a-f]{16}; end: length$'

# Kernels: the same bits by those that are chosen, others by name only; keys and values in BF16 are others, too.
for kernels in scalar avx2 avx512; do
    code=0
    "$WEIR" run "$story" -p "$once" -n 20 --temp 0 --json --kernels $kernels >"$work/out" 2>"$work/err" || code=$?
    if [ $code = 0 ]; then
        [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "$kernels gives other bits"
    else
        grep -q "this processor has no $kernels" "$work/out" || fail "$kernels: $(cat "$work/out")"
    fi
done
expect 1 "$WEIR" run "$story" -p "$once" --kernels mmx
says 'has no mmx'
run -n 20 --temp 0 --kv-bf16 --json
[ "$(key 'd["logits_hash"] != "'"$hash"'"')" = True ] || fail "--kv-bf16 changes nothing"

# The names of other runners, one of each.
expect 0 "$WEIR" run --model "$story" --n-predict 4 --ctx-size 64 --threads 1 --ubatch-size 2 --seed 1 --temp 0.5 \
    --stop zzz --prompt "$once"
expect 1 "$WEIR" run "$story" --prompt a --file "$work/out"

# Weights that are no numbers: said, not guessed at.
mkdir "$work/nan"
cp "$story"/*.json "$work/nan"
python3 - "$story/model-bf16.safetensors" "$work/nan/model.safetensors" <<'PYTHON'
import json, sys
data = bytearray(open(sys.argv[1], "rb").read())
n = int.from_bytes(data[:8], "little")
header = json.loads(data[8:8 + n])
begin, end = header["model.norm.weight"]["data_offsets"]
data[8 + n + begin:8 + n + end] = b"\xc0\x7f" * ((end - begin) // 2)
open(sys.argv[2], "wb").write(data)
PYTHON
printf 'Once upon a time there was a little girl' >"$work/few"
expect 3 "$WEIR" run "$work/nan" -p "$once" -n 3
says 'not numbers'
expect 3 "$WEIR" run "$work/nan" --perplexity "$work/few"
says 'not numbers'
echo "greedy: $(head -c 40 <<<"$greedy")"
