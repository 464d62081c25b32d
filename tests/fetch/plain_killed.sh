#!/usr/bin/env bash
# weir fetch --plain killed (-9) again and again: the bytes are right in the end, no file has its name
# before it is whole, no more comes twice than was on its way, and never are store and files both
# there.  WEIR_FETCH_KILLS: how often (default: 8); WEIR_FETCH_BYTES: of the store.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${WEIR_FETCH_KILLS:-8}
bytes=${WEIR_FETCH_BYTES:-30000000}
connections=4
seconds=$(awk -v b="$bytes" 'BEGIN { s = b / 2e8; print s < 1.4 ? 1.4 : s }') # of a run, about
rate=$((bytes * 2 / 5))

mkdir tree
head -c $((bytes / 3)) /dev/urandom >tree/a
head -c $((bytes / 3)) /dev/urandom >tree/b
head -c $((bytes / 3)) /dev/urandom >tree/c
cp tree/a tree/z
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
plain=$((bytes / 3 * 4))
serve a.weir slow:$rate

killed=0 runs=0 total=0 wholes=0 twices=0 most=0
while [ "$killed" -lt "$kills" ]; do
    rm -rf got
    : >"$log"
    interrupted=0
    for (( ; ; )); do
        runs=$((runs + 1))
        "$WEIR" fetch -q -x $connections --plain "$root/b.weir" got >/dev/null 2>fetch.err &
        pid=$!
        if [ $((killed + interrupted)) -lt "$kills" ]; then
            # A point in time from nothing to all of a run.
            sleep "$(awk -v r="$RANDOM" -v s=$seconds 'BEGIN { printf "%.3f", 0.05 + r / 32768 * s }')"
            kill -9 "$pid" 2>/dev/null || true
        fi
        code=0
        wait "$pid" 2>/dev/null || code=$?
        disk=$(($(du -s got 2>/dev/null | cut -f 1 || echo 0) * 1024))
        [ "$disk" -le "$most" ] || most=$disk
        [ "$code" != 0 ] || break
        [ "$code" = 137 ] || die "exit code $code: $(cat fetch.err)"
        for name in a b c z; do
            [ ! -e got/$name ] || cmp tree/$name got/$name || die "a name before its bytes"
        done
        interrupted=$((interrupted + 1))
    done
    same_tree tree got
    [ -z "$(find got -name '.weir-*')" ] || die "left: $(find got -name '.weir-*')"
    sleep 0.3 # the server may still be counting what it has sent to the last that was killed
    sent=$(logged "sum(r['sent'] for r in d if not r['range'].startswith('bytes=-'))")
    # An extent whose every byte was sent more than once; some of a body that was sent never left
    # its socket.
    twice=$(logged "sum(n - 1 for n in __import__('collections').Counter(
        r['range'] for r in d if not r['range'].startswith('bytes=-') and r['range'] != 'bytes=0-4095'
        and r['sent'] == int(r['range'].split('-')[1]) - int(r['range'][6:].split('-')[0]) + 1).values())")
    [ "$twice" -le $((interrupted * connections)) ] || die "$twice extents came twice in $interrupted kills"
    [ "$sent" -le $((size + interrupted * (connections * 4200000 + 4096) + 4096)) ] ||
        die "$sent bytes sent of $size, killed $interrupted times"
    killed=$((killed + interrupted))
    total=$((total + sent))
    twices=$((twices + twice))
    wholes=$((wholes + 1))
done
[ "$most" -le $((plain + connections * 4300000 + 1000000)) ] || die "$most bytes on disk, of $plain"
echo "$runs runs, killed $killed times, $wholes stores of $size bytes, $total bytes sent:" \
    "$(((total - wholes * size) / killed)) bytes again per kill, $twices extents whole twice," \
    "$most bytes on disk at most, of $plain"
