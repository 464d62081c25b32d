#!/usr/bin/env bash
# A fetch that is killed (-9) again and again: the bytes are right in the end, and no more comes twice
# than was on its way when it was killed: an extent per connection.  WEIR_FETCH_KILLS: how often
# (default: 8); WEIR_FETCH_BYTES: of what (default: 30 MB).
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${WEIR_FETCH_KILLS:-8}
bytes=${WEIR_FETCH_BYTES:-30000000}
connections=4

mkdir tree
head -c "$bytes" /dev/urandom >tree/random
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
serve a.weir slow:12000000

# most_twice: how many extents of the runs that began when d.starts says came whole, and again in a
# later run; the most of one run.
most_twice() {
    python3 -c 'import bisect, collections, json, sys
starts = [float(line) for line in open(sys.argv[2])]
runs = collections.defaultdict(set)
for r in map(json.loads, open(sys.argv[1])):
    first, _, last = r["range"].removeprefix("bytes=").partition("-")
    if first and r["sent"] == int(last) - int(first) + 1 and r["range"] != "bytes=0-4095":
        runs[r["range"]].add(bisect.bisect(starts, r["began"]))
twice = collections.Counter(run for where in runs.values() for run in sorted(where)[:-1])
print(max(twice.values(), default=0))' "$log" starts
}

killed=0 runs=0 total=0 wholes=0 most=0
while [ "$killed" -lt "$kills" ]; do
    rm -f b.weir b.weir.*
    : >"$log"
    : >starts
    interrupted=0
    for (( ; ; )); do
        runs=$((runs + 1))
        echo "$EPOCHREALTIME" >>starts
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
    twice=$(most_twice)
    [ "$twice" -le "$connections" ] || die "$twice extents of one run came again, with $connections connections"
    [ "$twice" -le "$most" ] || most=$twice
    [ "$sent" -le $((size + interrupted * (connections * 4200000 + 4096) + 4096)) ] ||
        die "$sent bytes sent of $size, killed $interrupted times"
    killed=$((killed + interrupted))
    total=$((total + sent))
    wholes=$((wholes + 1))
done
echo "at most $most whole extents of a killed run came again, with $connections connections"
echo "$runs runs, killed $killed times, $wholes stores of $size bytes, $total bytes sent:" \
    "$(((total - wholes * size) / killed)) bytes again per kill"
