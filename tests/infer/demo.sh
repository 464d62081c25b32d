#!/usr/bin/env bash
# The demo model, straight from its store: the ids and the greatest logits that transformers computed.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"

cat >"$work/check.py" <<'PYTHON'
import array, json, subprocess, sys
weir, store, golden, logits = sys.argv[1:]
for case in json.load(open(golden)):
    ran = subprocess.run([weir, "run", store, "-p", case["prompt"], "-n", str(len(case["greedy"])), "--temp", "0",
                          "--json", "--logits", logits], check=True, capture_output=True)
    got = json.loads(ran.stdout)
    ended = got["tokens"] + ([case["greedy"][-1]] if got["end"] == "eos" else [])
    assert ended == case["greedy"], (case["prompt"], got["tokens"])
    assert got["prompt_tokens"] == len(case["ids"]), got["prompt_tokens"]
    rows = array.array("f", open(logits, "rb").read())
    for i, logit in zip(case["top_ids"], case["top_logits"]):
        assert abs(rows[i] - logit) <= 1e-4, (case["prompt"], i, rows[i], logit)
    print(repr(case["prompt"]), "as transformers goes on:", got["text"][:60])
PYTHON
python3 "$work/check.py" "$WEIR" "$WEIR_SOURCE/tests/demo/stories.weir" "$WEIR_SOURCE/tests/demo/golden.json" "$work/logits" ||
    fail "not what transformers computes"
