#!/usr/bin/env bash
# A URL, mounted.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
"$WEIR" --version | grep -q 'mount yes' || skip "built without libfuse3"
[ -w /dev/fuse ] || skip "no /dev/fuse"

mkdir tree mnt
head -c 20000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree a.weir

unmount() { umount mnt 2>/dev/null || fusermount3 -u mnt; }

serve a.weir gone:gone
mounts+=("$tmp/mnt")
expect 0 "$WEIR" mount -o timeout_io=2 "$root/a.weir?signature=secret" mnt
! grep secret /proc/mounts || die "the signature is shown"
for name in random words; do
    cmp -s "tree/$name" "mnt/$name" || die "$name differs"
done
[ "$(stat -c %Y mnt/words)" = 1704067200 ] || die "$(stat -c %y mnt/words)" # its Last-Modified
cmp -s a.weir mnt/.weir/store || die "another store"
[ "$(stat -c %a mnt/.weir/store)" = 444 ] || die "$(stat mnt/.weir/store)"
unmount

# The server goes away: an error after timeout_io, not a wait for ever; and all is well again later.
expect 0 "$WEIR" mount -o timeout_io=2 "$root/a.weir" mnt
[ "$(stat -c %s mnt/random)" = 20000000 ] || die "$(stat mnt/random)"
: >gone
seconds expect 1 cat mnt/random
says 'Input/output error'
[ "$took" -ge 1000 ] && [ "$took" -le 30000 ] || die "took $took ms"
rm gone
cmp -s tree/random mnt/random || die "does not recover"
unmount

# Damaged bytes are nobody's.
serve a.weir "flip:4200000,1000"
expect 0 "$WEIR" mount "$root/a.weir" mnt
expect 1 cat mnt/random
says 'Input/output error'
unmount

# What cannot be opened is not mounted.
serve a.weir status:404,9
expect 2 "$WEIR" mount "$root/none?signature=secret" mnt
says '^weir mount: http://127.*/none: no such file'
! grep secret <<<"$err" || die "the signature is shown"
expect 2 "$WEIR" mount -f "$root/none" mnt
says '/none: no such file'
expect 2 "$WEIR" mount "$root/none" no-such-folder
serve a.weir
expect 2 "$WEIR" mount "$root/a.weir" no-such-folder
says '^weir mount: .*no-such-folder'
wrong=$(printf '%064d' 1)
expect 3 "$WEIR" mount -o "digest=$wrong" "$root/a.weir" mnt
says "/a.weir: its digest is .*, not the $wrong"
! grep -q "$tmp/mnt" /proc/mounts || die "mounted all the same"

# As mount(8) calls it.
ln -s "$WEIR" mount.weir
expect 32 ./mount.weir "$root/a.weir" mnt -o "digest=$wrong"
says '^mount.weir: http://127.*/a.weir: its digest'
expect 0 ./mount.weir "$root/a.weir" mnt -f
! grep -q "$tmp/mnt" /proc/mounts || die "no fake"
expect 0 ./mount.weir "$root/a.weir" mnt -o rw,noauto,_netdev,noexec,umask=077
[ "$(stat -c %a mnt/words)" = 400 ] || die "$(stat mnt/words)"
cmp -s tree/words mnt/words || die "words differ"
expect 0 "$WEIR" umount mnt

# In another mount namespace, where the client's thread cannot go.
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    unshare -m sleep 60 &
    servers+=($!)
    until [ "$(readlink "/proc/${servers[-1]}/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.05; done
    expect 0 ./mount.weir "$root/a.weir" "$tmp/mnt" -N "${servers[-1]}"
    ! grep -q "$tmp/mnt" /proc/mounts || die "mounted here"
    nsenter -m -t "${servers[-1]}" cmp -s "$tmp/tree/random" "$tmp/mnt/random" || die "random differs there"
    nsenter -m -t "${servers[-1]}" umount "$tmp/mnt"
fi
