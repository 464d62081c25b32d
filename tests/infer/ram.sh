#!/usr/bin/env bash
# --ram: never more than that, the same bits with any; what is too little says what would do, and that does.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models

make_model 24
usual=true
has_usual_memory || usual=false
text="Once upon a time there was a little girl"
options=(-c 64 -u 16 --temp 0 --ignore-eos --json)
run() { expect 0 "$WEIR" run "$@" "${options[@]}"; }
run "$work/model.weir" -p "$text" -n 8
hash=$(key 'd["logits_hash"]') most=$(key 'd["peak_rss_bytes"]')
count=0
budget() { # budget MIB ARGUMENT...: the same bits within it
    local ram=$1
    shift
    run "$@" -p "$text" -n 8 --ram "${ram}MiB"
    grep -q "\"logits_hash\": \"$hash\"" "$work/out" || fail "other bits: $ram MiB $*"
    peak=$(grep -oE '"peak_rss_bytes": [0-9]+' "$work/out")
    peak=${peak##* }
    if $usual && [ "$peak" -gt $((ram << 20)) ]; then
        fail "$peak bytes of $ram MiB: $*"
    fi
    count=$((count + 1))
}
for source in "$work/model.weir" "$work/model"; do
    for threads in 1 3; do
        least=$(least_of "$source" -p "$text" -n 8 -t $threads "${options[@]}")
        # Exactly that, more than once: how much memory a start takes differs a little.
        for form in resident none; do
            budget "$least" "$source" -t $threads --keep $form
        done
    done
    budget $((least + 8)) "$source" -t 3
    budget $((least + 8)) "$source" -t 3 --keep plain
    budget 4096 "$source" -t 2
done

# Other runs name what is enough for them, too: a long context, many texts, a conversation, perplexity.
printf '"A"\n"Once upon a time"\n"B"\n' >"$work/p.jsonl"
head -c 2000 "$WEIR_SOURCE/tests/demo/grammar.py" >"$work/text"
most_of() { # most_of MIB ARGUMENT...: whose memory does not show in its output
    local ram=$1
    shift
    python3 - "$ram" "$WEIR" run "$@" --ram "${ram}MiB" <<'PYTHON' || fail "$*"
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, capture_output=True)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert done.returncode == 0, done
assert most <= int(sys.argv[1]) << 10, f"{most} KiB of {sys.argv[1]} MiB"
PYTHON
}
for way in "-p A -c 512" "-p A -c 512 --kv-bf16 -u 64" "-f $work/p.jsonl -b 3 -c 64" "-p A --chat --raw -c 64 -n 9" \
    "--perplexity $work/text -c 128"; do
    # shellcheck disable=SC2086  # options
    least=$(least_of "$work/model.weir" $way)
    # shellcheck disable=SC2086
    ! $usual || most_of "$least" "$work/model.weir" $way
done
if $usual; then
    budget "$(least_of "$work/model.weir" -p "$text" -n 8 "${options[@]}")" "$work/model.weir"
    [ "$peak" -lt "$most" ] || fail "as much as without --ram"
fi
# As many tokens as a text may have, in the least memory and in all there is.
if $usual; then
    long=(-p "$text" -n 256 -c 300 -u 16 -t 2 --temp 0 --ignore-eos --json)
    expect 0 "$WEIR" run "$work/model.weir" "${long[@]}"
    most=$(key 'd["logits_hash"]')
    least=$(least_of "$work/model.weir" "${long[@]}")
    expect 0 "$WEIR" run "$work/model.weir" --ram "${least}MiB" "${long[@]}"
    [ "$(key 'd["logits_hash"], len(d["tokens"])')" = "('$most', 256)" ] || fail "other bits in $least MiB"
fi
echo "$count budgets, $hash"
