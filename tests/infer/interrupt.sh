#!/usr/bin/env bash
# ^C: what was done until then is said, and the exit code tells; a second one kills at once.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

make_model 24
printf '"Once upon a time there was a little girl"\n%.0s' {1..400} >"$work/p.jsonl"
printf 'Once upon a time there was a little girl. %.0s' {1..4000} >"$work/text"
cat >"$work/interrupt.py" <<'PYTHON'
import json, os, signal, subprocess, sys, time
weir, model, folder = sys.argv[1:]

def start(*args):
    # bufsize=0: communicate() does not see what readline() has read ahead
    return subprocess.Popen([weir, "run", model, "-t", "1", *args], bufsize=0, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

def catches(p):  # the kernel tells whether SIGINT has a handler; the handler is there for one signal
    with open(f"/proc/{p.pid}/status") as f:
        mask = [line for line in f if line.startswith("SigCgt:")]
    return bool(mask) and int(mask[0].split()[1], 16) >> (signal.SIGINT - 1) & 1

def until(p, wanted):
    end = time.monotonic() + 60
    while p.poll() is None and catches(p) != wanted:
        assert time.monotonic() < end
        time.sleep(0.001)

def ended(p, code, what):
    out, err = p.communicate(timeout=60)
    assert p.returncode == code, (what, p.returncode, err)
    return out, err.decode()

# A text: what there is of it, and the statistics.
p = start("-p", "Once upon a time", "-n", "100000", "--temp", "0", "--ignore-eos")
first = os.read(p.stdout.fileno(), 1)
p.send_signal(signal.SIGINT)
out, err = ended(p, 130, "a text")
assert first and err.rstrip().endswith("end: interrupted") and "prompt: " in err, err
p = start("-p", "Once upon a time", "-n", "100000", "--temp", "0", "--ignore-eos", "--json", "--logits", folder + "/l")
while not os.path.exists(folder + "/l") or os.path.getsize(folder + "/l") == 0:
    assert p.poll() is None
    time.sleep(0.001)
p.send_signal(signal.SIGINT)
out, err = ended(p, 130, "an object")
d = json.loads(out)
assert d["end"] == "interrupted" and len(d["tokens"]) > 0, d
vocab = json.load(open(folder + "/model/config.json"))["vocab_size"]
assert os.path.getsize(folder + "/l") == 4 * len(d["tokens"]) * vocab, "other logits than tokens"

# SIGTERM is heard, too.
p = start("-p", "Once upon a time", "-n", "100000", "--ignore-eos")
os.read(p.stdout.fileno(), 1)
p.terminate()
assert "end: interrupted" in ended(p, 130, "SIGTERM")[1]

# Many texts: whole lines, in order, of those that ended.
p = start("-f", folder + "/p.jsonl", "-b", "2", "-n", "20", "--temp", "0", "--ignore-eos")
line = p.stdout.readline()
p.send_signal(signal.SIGINT)
out, err = ended(p, 130, "many texts")
lines = (line + out).decode().splitlines()
assert 0 < len(lines) < 400 and [json.loads(l)["index"] for l in lines] == list(range(len(lines)))
assert err.startswith(f"{len(lines)} texts, 2 at a time"), err

# Perplexity: of what was counted; nothing, where nothing was.
p = start("--perplexity", folder + "/text", "-c", "64", "-u", "16", "--json")
until(p, True)
time_of = lambda: sum(map(int, open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))
while p.poll() is None and time_of() < 100:  # a second of work: far into the text, far from its end
    time.sleep(0.01)
p.send_signal(signal.SIGINT)
d = json.loads(ended(p, 130, "perplexity")[0])
assert d["interrupted"] is True and 0 < d["counted"] < d["tokens"] and d["perplexity"] > 0, d

# Twice: the second does not wait for anything.
for attempt in range(5):
    p = start("--perplexity", folder + "/text", "-c", "512", "-u", "512")
    until(p, True)
    while p.poll() is None and time_of() < 30:
        time.sleep(0.001)
    p.send_signal(signal.SIGINT)
    until(p, False)
    if p.poll() is None:
        p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    if p.returncode == -signal.SIGINT:
        break
else:
    sys.exit("a second ^C never killed")
PYTHON
python3 "$work/interrupt.py" "$WEIR" "$work/model.weir" "$work" || fail "^C"
