#!/usr/bin/env bash
# Conversations: the text that a template makes of them, keys and values that stay between answers,
# what ends an answer and what ends the program.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

says() { grep -qE -- "$1" "$work/err" || fail "\"$1\" is not in: $(cat "$work/err")"; }
expect() { # expect CODE COMMAND...: its output in $work/out and $work/err
    local want=$1 code=0
    shift
    "$@" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" = "$want" ] || fail "exit code $code, not $want: $* $(cat "$work/err")"
}
key() { # key EXPRESSION: of the last object in $work/out, all of them in l
    python3 -c 'import json, sys
text, l, d = open(sys.argv[1]).read().strip(), [], json.JSONDecoder()
while text:
    o, n = d.raw_decode(text)
    l.append(o)
    text = text[n:].strip()
d = l[-1]
print(eval(sys.argv[2]))' "$work/out" "$1"
}
story=$shared/story

# One question: what the template writes, gone on with.
zephyr=$(printf '<|user|>\nHello<|end_story|>\n<|assistant|>\n')
expect 0 "$WEIR" run "$story" -p "Hello" --chat --chat-template zephyr -n 12 --temp 0 --json
hash=$(key 'd["logits_hash"]') text=$(key 'd["text"]')
expect 0 "$WEIR" run "$story" -p "$zephyr
" -n 12 --temp 0 --json
[ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "another text than the template's: $(cat "$work/out")"
expect 0 "$WEIR" run "$story" -p "Hello" --chat-template zephyr --sys "You are Lily." -n 12 --temp 0 --json
[ "$(key 'd["logits_hash"]')" != "$hash" ] || fail "--sys changes nothing"

# Two: the second as if all of it were read at once, but only what is new is read.
printf 'Hello\r\n\nAnd then?\n' >"$work/lines"
expect 0 "$WEIR" run -m "$story" --chat --chat-template zephyr -n 12 --temp 0 --json <"$work/lines"
[ "$(key '[o["logits_hash"] for o in l][0], len(l)')" = "('$hash', 2)" ] || fail "$(cat "$work/out")"
[ "$(key 'l[0]["prompt_reused"] == 0 and d["prompt_reused"] >= l[0]["prompt_tokens"]')" = True ] ||
    fail "nothing is reused: $(cat "$work/out")"
second=$(key 'd["logits_hash"]')
expect 0 "$WEIR" run "$story" -p "$(printf '%s\n%s<|end_story|>\n<|user|>\nAnd then?<|end_story|>\n<|assistant|>\n' "$zephyr" "$text")
" -n 12 --temp 0 --json
[ "$(key 'd["logits_hash"]')" = "$second" ] || fail "keys and values that stayed give another text"

# Without a template.
expect 0 "$WEIR" run "$story" --chat --raw -p "Once upon a time" -n 10 --temp 0 -q
[ "$(cat "$work/out")" = ", a little girl named Lily lived in a small house with her mom, dad" ] || fail "$(cat "$work/out")"

# The template of the model; one that nobody knows; none.
cp -r "$story" "$work/model"
template() { # template TEXT: as tokenizer_config.json has it
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
d["chat_template"] = sys.argv[2]
json.dump(d, open(sys.argv[1], "w"))' "$work/model/tokenizer_config.json" "$1"
}
template "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + \
'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
expect 0 "$WEIR" run "$work/model" -p Hello --chat -n 3
template "{{ messages[0].content }}"
expect 4 "$WEIR" run "$work/model" -p Hello --chat -n 3
says '--raw.*--chat-template NAME|--chat-template NAME.*--raw'
expect 0 "$WEIR" run "$work/model" -p Hello -n 3
expect 4 "$WEIR" run "$story" -p Hello --chat -n 3
says 'says nothing of conversations.*--chat-template NAME.*--raw'
expect 4 "$WEIR" run "$story" -p Hello --chat --chat-template nothing
says "no chat template 'nothing'; there are .*llama3\.1.*zephyr"
printf '{{ bos }}' >"$work/model/chat_template.jinja"
expect 4 "$WEIR" run "$work/model" -p Hello --chat
expect 1 "$WEIR" run "$story" -p Hello --raw
expect 1 "$WEIR" run "$story" -p Hello --chat --raw --chat-template zephyr

# Several stops; the first that comes ends it, also across tokens.
expect 0 "$WEIR" run "$story" -p "Once upon a time" -n 64 --temp 0 -r "never, never" -r "all house" -r "mom"
[ "$(cat "$work/out")" = ", a little girl named Lily lived in a sm" ] || fail "$(cat "$work/out")"
expect 1 "$WEIR" run "$story" -p "Once" -r a -r ""

# A full context: the first question is forgotten; one that is too long is refused, and the next is not.
{
    printf 'Hello\nTell me a story about a cat\nAnd then\n'
    printf 'word %.0s' {1..200}
    printf '\nHello\n'
} >"$work/lines"
expect 0 "$WEIR" run "$story" --chat --chat-template zephyr -n 20 -c 100 --temp 0 <"$work/lines"
says 'the first question is forgotten'
says 'the question has [0-9]+ tokens, the context room for 100; make it shorter'
[ "$(grep -c '^prompt: ' "$work/err")" = 4 ] || fail "not four answers: $(cat "$work/err")"
expect 0 "$WEIR" run "$story" --chat --chat-template zephyr </dev/null
[ ! -s "$work/out" ] || fail "an answer to nothing"

# ^C ends an answer, and when nobody answers the program.
cat >"$work/interrupt.py" <<'PYTHON'
import os, signal, subprocess, sys
p = subprocess.Popen([*sys.argv[1:], "--chat", "--raw", "-n", "400", "--ignore-eos", "-t", "1"], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
def ask(line):
    os.write(p.stdin.fileno(), line)
    assert os.read(p.stdout.fileno(), 1), "no answer"
ask(b"Once upon a time\n")
p.send_signal(signal.SIGINT)
ends = [p.stderr.readline()]
ask(b" One day\n")
ends.append(p.stderr.readline())
p.send_signal(signal.SIGINT)
p.wait(timeout=20)
assert b"end: interrupted" in ends[0] or b"end: length" in ends[0], ends
assert p.returncode == 130, (p.returncode, p.stderr.read())
print(ends[0].decode().split()[-1])
PYTHON
ended=$(python3 "$work/interrupt.py" "$WEIR" run "$story") || fail "^C in a conversation"
echo "one and the same bits; ^C while it answered: $ended"
