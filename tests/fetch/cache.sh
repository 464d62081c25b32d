#!/usr/bin/env bash
# Extents kept on this disk: what they save, and what may become of them.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir tree
head -c 24000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree a.weir
expect 0 "$WEIR" verify --json a.weir
n_extents=$(sed -n 's/.*"extents": \([0-9]*\).*/\1/p' <<<"$out")
[ "$n_extents" -ge 7 ] || die "$n_extents extents only"
requests() { logged 'len(d)'; }
kept() { find "$1" -type f -name '[0-9a-f]*' ! -name '*.part' | wc -l; }
unpack() { # unpack CACHE OPTION...: is right
    rm -rf out
    expect 0 "$WEIR" unpack --cache "$@" "$root/a.weir" out
    same_tree tree out
}

# Once is enough, for whatever command.
serve a.weir
unpack c
[ "$(requests)" = $((n_extents + 2)) ] || die "$(requests) requests"
[ "$(kept c)" = "$n_extents" ] || die "$(ls c)"
[ -z "$(find c -name '*.part')" ] || die "left behind: $(ls c)"
[ -z "$err" ] || die "$err"
for command in unpack verify ls; do
    serve a.weir
    rm -rf out
    to=()
    [ $command != unpack ] || to=(out)
    expect 0 "$WEIR" $command --cache c "$root/a.weir" "${to[@]}"
    [ "$(requests)" = 2 ] || die "$command: $(requests) requests"
done

# What lies there and is not what it is called is found, and fetched again.
serve a.weir
for at in c/[0-9a-f]*; do
    printf '\x55' | dd of="$at" bs=1 seek=$(($(stat -c %s "$at") / 2)) conv=notrunc 2>dd.err || die "$(cat dd.err)"
done
unpack c
n=$(requests)
[ "$n" -gt $((n_extents - 2)) ] || die "$n requests" # a byte may have been 0x55 before
serve a.weir
unpack c
[ "$(requests)" = 2 ] || die "not put right: $(requests) requests"
mapfile -t names < <(ls c/[0-9a-f]*)
: >"${names[0]}"
truncate -s +1 "${names[1]}"
rm "${names[2]}" "${names[3]}" "${names[4]}" "${names[5]}"
mkfifo "${names[2]}"
ln -s /dev/zero "${names[3]}"
mkdir "${names[4]}"
ln -s "$tmp/tree/words" "${names[5]}.part"
echo nonsense >c/usage
serve a.weir
unpack c
[ "$(requests)" = $((6 + 2)) ] || die "$(requests) requests"
[ "$(stat -c %s tree/words)" = 3000000 ] || die "written through a link"
rm -rf c

# Never more than it may be, and what was read last stays.
serve a.weir
for _ in 1 2; do
    unpack c --cache-size 16Mi
    [ "$(du -s --apparent-size -k c | cut -f 1)" -le $((16384 + 64)) ] || die "$(du -sk c)"
    [ "$(du -s -k c | cut -f 1)" -le $((16384 + 64)) ] || die "$(du -sk c)"
done
[ "$(kept c)" -ge 2 ] || die "$(ls c)"
expect 1 "$WEIR" unpack --cache c --cache-size 1k "$root/a.weir" out
says 'cache-size is at least'
expect 1 "$WEIR" unpack --cache-size 1G "$root/a.weir" out
says 'without --cache'
# A count that is far too small is no licence for ever: a full look follows at the next start.
python3 -c 'import struct; open("c/usage", "wb").write(struct.pack("<QQ", 0, 2**64 - 1))'
unpack c --cache-size 16Mi
[ "$(du -s -k c | cut -f 1)" -le $((16384 + 64)) ] || die "$(du -sk c)"
rm -rf c

# Several at once fetch little twice, and get the right bytes.
serve a.weir
pids=()
for i in 1 2 3 4; do
    "$WEIR" unpack -q --cache c "$root/a.weir" "out.$i" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || die "one of four fails"; done
for i in 1 2 3 4; do same_tree tree "out.$i"; done
[ "$(requests)" -le $((n_extents + n_extents / 4 + 8)) ] || die "$(requests) requests of four"
[ -z "$(find c -name '*.part')" ] || die "left behind: $(ls c)"
rm -rf out.* c

# Killed while it writes: nothing half is taken for whole, and what is left goes.
serve a.weir slow:20000000
for i in 1 2 3 4; do
    "$WEIR" unpack -q --cache c "$root/a.weir" "out.$i" 2>/dev/null &
    pid=$!
    until [ "$(find c -name '*.part' 2>/dev/null | wc -l)" -gt 0 ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    sleep "0.0$((i * 7 % 10))"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" || true
done
[ "$(find c -name '*.part' | wc -l)" -le 10 ] || die "$(ls c)"
serve a.weir
unpack c
[ -z "$(find c -name '*.part')" ] || die "left behind: $(ls c)"
rm -rf out.* c

# Folders that nothing can be kept in: one warning, no error.
one_warning() {
    [ "$(grep -c "cache .*$1" <<<"$err")" = 1 ] && [ "$(wc -l <<<"$err")" = 1 ] || die "not one warning: $err"
}
: >file
serve a.weir
unpack file
one_warning 'Not a directory'
unpack none/c
one_warning 'No such file'
if [ "$(id -u)" = 0 ] && mkdir small 2>/dev/null && mount -t tmpfs -o size=6M weir small 2>/dev/null; then
    mounts+=("$tmp/small")
    unpack small
    one_warning 'No space left'
    [ "$(kept small)" -ge 1 ] || die "nothing kept"
    [ -z "$(find small -name '*.part')" ] || die "left behind: $(ls small)"
    n=$(kept small)
    mount -o remount,ro small
    serve a.weir
    unpack small
    one_warning 'Read-only'
    [ "$(requests)" = $((n_extents - n + 2)) ] || die "$(requests) requests beside $n that are kept"
fi
