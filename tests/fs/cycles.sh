#!/usr/bin/env bash
# Mounted and unmounted over and over, within one process and by the program: nothing grows, no
# process and no mount is left.  WEIR_CYCLES is how often (a soak: 10000).
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

cycles=$WEIR_BUILD/tests/fs_cycles
[ -x "$cycles" ] || skip "no fs_cycles"
inside=400 outside=60 slack_kib=1024
if sanitized; then # they keep what was freed; what leaks, LeakSanitizer tells at the end
    inside=150 outside=10 slack_kib=1000000
fi
inside=${WEIR_CYCLES:-$inside}
outside=${WEIR_CYCLES:-$outside}

mkdir "$work/tree"
head -c 3000000 /dev/urandom >"$work/tree/noise"
echo small >"$work/tree/small"
"$WEIR" pack -q "$work/tree" "$work/t.weir"

"$cycles" "$work/t.weir" "$mnt" noise "$inside" "$slack_kib" || fail "$inside cycles in one process"
! is_mounted "$mnt" || fail "still mounted"

for ((i = 0; i < outside; i++)); do
    "$WEIR" mount "$work/t.weir" "$mnt" || fail "mount $i"
    [ "$(<"$mnt/small")" = small ] || fail "bytes of mount $i"
    cmp -n 200000 "$work/tree/noise" "$mnt/noise" || fail "bytes of mount $i"
    fusermount3 -u "$mnt" || fail "unmount $i"
done
wait_for no_process_of "$work/t.weir"
! is_mounted "$mnt" || fail "still mounted"
[ "$(grep -c "$work" /proc/mounts)" = 0 ] || fail "a mount is left"
