#!/usr/bin/env bash
# A mount of a URL that keeps what it fetches, and one whose server answers no more.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
"$WEIR" --version | grep -q 'mount yes' || skip "built without libfuse3"
[ -w /dev/fuse ] || skip "no /dev/fuse"

mkdir tree mnt mnt2
head -c 40000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree a.weir
expect 0 "$WEIR" verify --json a.weir
n_extents=$(sed -n 's/.*"extents": \([0-9]*\).*/\1/p' <<<"$out")
mounts+=("$tmp/mnt" "$tmp/mnt2")
same() { cmp -s tree/random "$1/random" && cmp -s tree/words "$1/words" || die "$1 differs"; }

# The second mount asks for no extent, nor do two at once for each extent more than once or so.
serve a.weir
expect 0 "$WEIR" mount --cache c "$root/a.weir" mnt
expect 0 "$WEIR" mount -o "cache_dir=$tmp/c,cache_size=1G" "$root/a.weir" mnt2
same mnt &
pid=$!
same mnt2
wait "$pid" || die "one of two fails"
[ "$(logged 'len(d)')" -le $((n_extents + n_extents / 2 + 4)) ] || die "$(logged 'len(d)') requests"
expect 0 "$WEIR" umount mnt
expect 0 "$WEIR" umount mnt2
serve a.weir
expect 0 "$WEIR" mount --cache c "$root/a.weir" mnt
same mnt
expect 0 "$WEIR" umount mnt
[ "$(logged 'len(d)')" = 2 ] || die "$(logged 'len(d)') requests"

# A server that takes requests and says nothing: whoever reads waits, but nobody who ends the mount.
serve a.weir quiet:quiet
for signal in umount TERM; do
    "$WEIR" mount -f "$root/a.weir" mnt 2>log.mount &
    daemon=$!
    until grep -q "$tmp/mnt " /proc/mounts; do kill -0 "$daemon" || die "$(cat log.mount)"; sleep 0.02; done
    : >quiet
    cat mnt/random >/dev/null 2>&1 &
    reader=$!
    until [ "$(python3 -c 'import json; print(json.load(open("mnt/.weir/status.json"))["requests"] > 2)')" = True ]; do sleep 0.02; done
    from=${EPOCHREALTIME/./}
    if [ "$signal" = TERM ]; then
        kill "$daemon"
    else
        kill "$reader"
        wait "$reader" || true
        expect 0 "$WEIR" umount mnt
    fi
    wait "$daemon" || die "exit code $?: $(cat log.mount)"
    took=$(((${EPOCHREALTIME/./} - from) / 1000))
    [ "$took" -le 2000 ] || die "$signal: took $took ms"
    ! grep -q "$tmp/mnt " /proc/mounts || die "still mounted"
    wait "$reader" || true
    rm quiet
done

# What the log says of a server that is gone.
serve a.weir gone:gone
"$WEIR" mount -f -o timeout_io=1 "$root/a.weir" mnt 2>log.mount &
daemon=$!
until grep -q "$tmp/mnt " /proc/mounts; do sleep 0.02; done
: >gone
expect 1 cat mnt/random
kill "$daemon"
wait "$daemon" || true
grep -qE 'random: opaque bytes, tile 0 .*: .*(reset|closed|empty|Empty|Recv|recv|tries)' log.mount || die "no cause: $(cat log.mount)"
