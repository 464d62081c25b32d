# lib.sh - sourced by the scripts of infer/: a folder to work in, the probe, what must be, what must be equal.
# shellcheck shell=bash disable=SC2034  # the scripts use what is set here
set -euo pipefail

work=$(mktemp -d "$PWD/infer-XXXXXX")
trap 'rm -rf "$work"' EXIT
shared=$WEIR_SHARED/models

fail() {
    echo "FAILED: $*"
    exit 1
}
need_models() {
    [ -d "$shared/story" ] || {
        echo "skipped: no ../shared"
        exit 77
    }
}
probe() { "$INFER_PROBE" "$@"; }
ids_of() { sed -n 1p; }
hash_of() { tail -n 1; }
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
# A model with made-up weights in $work/model, N megabytes, and its store.
make_model() {
    "$WEIR_GEN" "$work/model" --megabytes "$1" --seed 1 >"$work/out"
    cp "$shared/story/tokenizer.json" "$work/model"
    "$WEIR" pack -q "$work/model" "$work/model.weir"
}
# Under AddressSanitizer and ThreadSanitizer memory is another thing.
has_usual_memory() { ! grep -aq __asan_init "$WEIR" && ! grep -aq __tsan_init "$WEIR"; }
# least_of ARGUMENT...: the MiB that such a run says would do, having had too little.
least_of() {
    expect 6 "$WEIR" run "$@" --ram 1M --json
    grep -oE '[0-9]+MiB would be' "$work/out" | grep -oE '^[0-9]+' || fail "no least: $(cat "$work/out")"
}
