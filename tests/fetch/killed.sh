#!/usr/bin/env bash
# A fetch that is killed (-9) again and again: the bytes are right in the end, and no more comes twice
# than was on its way when it was killed.  WEIR_FETCH_KILLS: how often (default: 8).
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${WEIR_FETCH_KILLS:-8}
connections=4

mkdir tree
head -c 30000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
serve a.weir slow:12000000

killed=0 runs=0 total=0 wholes=0
while [ "$killed" -lt "$kills" ]; do
    rm -f b.weir b.weir.*
    : >"$log"
    interrupted=0
    for (( ; ; )); do
        runs=$((runs + 1))
        "$WEIR" fetch -q -x $connections "$root/b.weir" >/dev/null 2>fetch.err &
        pid=$!
        if [ $((killed + interrupted)) -lt "$kills" ]; then
            # A point in time from nothing to all of a run.
            sleep "$(awk -v r="$RANDOM" 'BEGIN { printf "%.3f", 0.05 + r / 32768 * 1.4 }')"
            kill -9 "$pid" 2>/dev/null || true
        fi
        code=0
        wait "$pid" 2>/dev/null || code=$?
        [ "$code" != 0 ] || break
        [ "$code" = 137 ] || die "exit code $code: $(cat fetch.err)"
        [ ! -e b.weir ] || cmp a.weir b.weir || die "a name before its bytes"
        interrupted=$((interrupted + 1))
    done
    cmp a.weir b.weir || die "other bytes"
    [ -z "$(find . -name 'b.weir.*')" ] || die "left: $(find . -name 'b.weir.*')"
    # The server counts what it wrote, and some of that never left its socket: two extents' worth of
    # bodies for each connection of a killed run is the most, one of them in the kernel's buffers.
    sleep 0.3
    sent=$(logged "sum(r['sent'] for r in d if not r['range'].startswith('bytes=-'))")
    # Whole bodies are what can come twice: an extent whose every byte was sent more than once.
    twice=$(logged "sum(n - 1 for n in __import__('collections').Counter(
        r['range'] for r in d if not r['range'].startswith('bytes=-') and r['range'] != 'bytes=0-4095'
        and r['sent'] == int(r['range'].split('-')[1]) - int(r['range'][6:].split('-')[0]) + 1).values())")
    [ "$twice" -le $((interrupted * connections)) ] || die "$twice extents came twice in $interrupted kills"
    [ "$sent" -le $((size + interrupted * (connections * 4200000 + 4096) + 4096)) ] ||
        die "$sent bytes sent of $size, killed $interrupted times"
    killed=$((killed + interrupted))
    total=$((total + sent))
    wholes=$((wholes + 1))
done
echo "$runs runs, killed $killed times, $wholes stores of $size bytes, $total bytes sent:" \
    "$(((total - wholes * size) / killed)) bytes again per kill"
