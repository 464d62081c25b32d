#!/usr/bin/env bash
# Several texts a pass, and perplexity: the bits of each alone, from everywhere, by any number of threads.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

story=$shared/story
"$WEIR" pack -q "$story" "$work/story.weir"

# Prompts of all lengths, one that ends at once, one twice, and one in the other form of a line.
cat >"$work/p.jsonl" <<'JSON'
{"prompt": "Once upon a time"}
"One day, a \"big\" cat"

{"id": 3, "prompt": "A"}
{"prompt": ""}
{"prompt": "Once upon a time"}
{"prompt": "There was a little girl named Lily. She had a red ball. She liked to play with it in the park."}
JSON
cat >"$work/alone.py" <<'PYTHON'
import json, subprocess, sys
weir, source, prompts = sys.argv[1:4]
for line in filter(str.strip, open(prompts)):
    o = json.loads(line)
    ran = subprocess.run([weir, "run", source, "-p", o if isinstance(o, str) else o["prompt"], "--json", *sys.argv[4:]],
                         check=True, capture_output=True)
    d = json.loads(ran.stdout)
    print(json.dumps([d["text"], d["tokens"], d["prompt_tokens"], d["end"], d["logits_hash"]]))
PYTHON
cat >"$work/list.py" <<'PYTHON'
import json, sys
for i, line in enumerate(open(sys.argv[1])):
    d = json.loads(line)
    assert d["index"] == i, d
    print(json.dumps([d["text"], d["tokens"], d["prompt_tokens"], d["end"], d["logits_hash"]]))
PYTHON
count=0
for how in "--temp 0" "-s 7" "--temp 0 -c 40" "--temp 0 -r park -r mom"; do
    # shellcheck disable=SC2086  # options
    python3 "$work/alone.py" "$WEIR" "$story" "$work/p.jsonl" -n 30 $how >"$work/alone" || fail "alone"
    for way in "$story -b 1" "$work/story.weir -b 2 -u 3 -t 1" "$story -b 4 -t 4" "$work/story.weir -b 64 --keep none"; do
        # shellcheck disable=SC2086
        expect 0 "$WEIR" run $way -f "$work/p.jsonl" -n 30 $how
        python3 "$work/list.py" "$work/out" | cmp - "$work/alone" || fail "other results: $way $how"
        count=$((count + 1))
    done
done
says '^6 texts, 6 at a time; prompts: [0-9]+ tokens; answers: [0-9]+ tokens'
# The weights are read once for all of them (and an embedding or two more, by whichever worker).
alone=$("$WEIR" run "$story" -p A -n 30 --temp 0 --ignore-eos --keep none --json | grep -o '"bytes_read": [0-9]*')
printf '"A"\n"A"\n"A"\n"A"\n' >"$work/same.jsonl"
expect 0 "$WEIR" run "$story" -f "$work/same.jsonl" -b 4 -n 30 --temp 0 --ignore-eos --keep none
four=$(grep -oE 'read [0-9.]+ MB' "$work/err" | grep -oE '[0-9.]+')
awk -v one="${alone##* }" -v four="$four" 'BEGIN { exit !(four * 1e6 < 1.5 * one) }' ||
    fail "read of one: $alone, of four: $four MB"

# What is refused.
expect 1 "$WEIR" run "$story" -p a -b 2
says '--batch-size is of the prompts of --file NAME.jsonl'
for bad in '{"prompt": 3}' '[]' '{"text": "a"}' '{"prompt": "a"' 'text'; do
    printf '"fine"\n%s\n' "$bad" >"$work/bad.jsonl"
    code=0
    "$WEIR" run "$story" -f "$work/bad.jsonl" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" != 0 ] || fail "taken: $bad"
    [ ! -s "$work/out" ] || fail "something of a bad file: $bad"
    says 'line 2: '
done
: >"$work/none.jsonl"
expect 0 "$WEIR" run "$story" -f "$work/none.jsonl"
[ ! -s "$work/out" ] || fail "something from nothing"
expect 2 "$WEIR" run "$story" -f "$work/nowhere.jsonl"

# Perplexity: one number.
head -c 6000 "$WEIR_SOURCE/tests/demo/grammar.py" >"$work/text"
"$WEIR" run "$story" --perplexity "$work/text" --json >"$work/plain"
value() { grep -oE '"(perplexity|logits_hash|counted|tokens)": [^,]*' "$1"; }
for way in "$work/story.weir" "$work/story.weir -t 1 -u 5" "$story -t 4 --keep plain" "$work/story.weir --keep none"; do
    # shellcheck disable=SC2086
    expect 0 "$WEIR" run $way --perplexity "$work/text" --json
    [ "$(value "$work/out")" = "$(value "$work/plain")" ] || fail "another perplexity: $way $(cat "$work/out")"
done
# And of a text of its own, with weights in BF16, which have one form more.
"$WEIR" run "$story" -p 'Once upon a time' -n 220 --temp 0 --ignore-eos >"$work/own" 2>"$work/err"
mkdir "$work/bf16"
cp "$story"/*.json "$work/bf16"
cp "$story/model-bf16.safetensors" "$work/bf16/model.safetensors"
"$WEIR" pack -q "$work/bf16" "$work/bf16.weir"
for model in "$story $work/story.weir" "$work/bf16 $work/bf16.weir"; do
    read -r raw stored <<<"$model"
    "$WEIR" run "$raw" --perplexity "$work/own" --keep plain --json >"$work/plain.own"
    for way in "--keep resident" "--keep plain" "--keep none -t 1"; do
        # shellcheck disable=SC2086
        expect 0 "$WEIR" run "$stored" --perplexity "$work/own" $way --json
        [ "$(value "$work/out")" = "$(value "$work/plain.own")" ] || fail "another perplexity: $stored $way $(cat "$work/out")"
    done
    echo "its own text, $(basename "$raw"): $(grep -oE '"perplexity": [^,]*' "$work/plain.own")"
done
expect 0 "$WEIR" run "$story" --perplexity "$work/text" -c 64 --json
[ "$(value "$work/out")" != "$(value "$work/plain")" ] || fail "the window changes nothing"
# By hand, from the logits of one window: a greedy answer is foreseen as its logits say.
cat >"$work/check.py" <<'PYTHON'
import array, json, math, subprocess, sys
weir, source, folder = sys.argv[1:]
run = lambda *a: json.loads(subprocess.run([weir, "run", source, "--json", *a], check=True, capture_output=True).stdout)
prompt = "Once upon a time"
d = run("-p", prompt, "-n", "30", "--temp", "0", "--logits", folder + "/l")
open(folder + "/whole", "w").write(prompt + d["text"])
open(folder + "/begin", "w").write(prompt)
whole, begin = (run("--perplexity", folder + "/" + f) for f in ("whole", "begin"))
assert whole["tokens"] == begin["tokens"] + 30, "the text has other tokens than the ids"
rows, n, s = array.array("f", open(folder + "/l", "rb").read()), 2048, 0
for i, id in enumerate(d["tokens"]):
    s += math.log(sum(map(math.exp, rows[i * n : (i + 1) * n]))) - rows[i * n + id]
got = math.log(whole["perplexity"]) * whole["counted"] - math.log(begin["perplexity"]) * begin["counted"]
assert abs(got - s) < 1e-4, (got, s)
PYTHON
python3 "$work/check.py" "$WEIR" "$story" "$work" || fail "perplexity is not what logits say"
expect 1 "$WEIR" run "$story" --perplexity "$work/text" -p a
: >"$work/empty"
expect 1 "$WEIR" run "$story" --perplexity "$work/empty"
says 'less than two tokens'
expect 2 "$WEIR" run "$story" --perplexity "$work/nowhere"
echo "$count ways of six texts, $(head -n 1 <<<"$(value "$work/plain")")"
