#!/usr/bin/env bash
# A part that is completed in its place, killed (-9) again and again: it is a part at every moment, then
# the store.  WEIR_FETCH_KILLS: how often (default: 8).
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
[ -x "${WEIR_GEN:-}" ] || skip "no gen_checkpoint"
kills=${WEIR_FETCH_KILLS:-8}
connections=4

"$WEIR_GEN" tree --megabytes 40 >/dev/null
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
serve a.weir
expect 0 "$WEIR" fetch -q --layers 1 "$root/part.weir"
serve a.weir slow:5000000

killed=0 wholes=0
while [ "$killed" -lt "$kills" ]; do
    cp --sparse=always part.weir b.weir
    : >"$log"
    interrupted=0
    for (( ; ; )); do
        "$WEIR" fetch -q -x $connections "$root/b.weir" >/dev/null 2>fetch.err &
        pid=$!
        if [ $((killed + interrupted)) -lt "$kills" ]; then
            sleep "$(awk -v r="$RANDOM" 'BEGIN { printf "%.3f", 0.05 + r / 32768 * 1.2 }')"
            kill -9 "$pid" 2>/dev/null || true
        fi
        code=0
        wait "$pid" 2>/dev/null || code=$?
        [ "$code" != 0 ] || break
        [ "$code" = 137 ] || die "exit code $code: $(cat fetch.err)"
        code=0
        "$WEIR" verify -q b.weir 2>verify.err || code=$?
        if [ "$code" = 0 ]; then # killed when all was there, with the appendix or without
            head -c "$size" b.weir | cmp - a.weir || die "other bytes"
        elif [ "$code" != 2 ] || ! grep -q 'lacks [0-9]* of' verify.err; then
            die "exit code $code: $(cat verify.err)"
        fi
        interrupted=$((interrupted + 1))
    done
    cmp a.weir b.weir || die "other bytes"
    [ -z "$(find . -name 'b.weir.*')" ] || die "left: $(find . -name 'b.weir.*')"
    sleep 0.3
    sent=$(logged "sum(r['sent'] for r in d if not r['range'].startswith('bytes=-'))")
    [ "$sent" -le $((size + interrupted * (connections * 4200000 + 4096) + 4096)) ] ||
        die "$sent bytes sent of $size, killed $interrupted times"
    killed=$((killed + interrupted))
    wholes=$((wholes + 1))
done
echo "killed $killed times, $wholes stores of $size bytes"
