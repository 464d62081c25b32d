#!/usr/bin/env bash
# Another mount in the place of one, or over it, is no business of the process that served the
# first: neither its idle timer nor its end by a signal unmounts the stranger.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "not root: one mount cannot lie over another"
cd "$work"

# A and B have a file of the same name; the process of each is known by its store.
for store in a b; do
    mkdir "$store"
    head -c 3000000 /dev/urandom >"$store/noise"
    "$WEIR" pack -q "$store" "$work/$store.weir"
done

mounts() { # mounts DIR: how many lie there, one over the other
    grep -cF " $1 fuse.weir " /proc/mounts || true
}
b_is_there() { # b_is_there DIR WHEN
    [[ $(findmnt -rno SOURCE -M "$1" | tail -n 1) == "$work/b.weir" ]] || fail "B was unmounted: $2"
    "$probe" forget "$1/noise"
    cmp b/noise "$1/noise" || fail "B reads wrong: $2"
}
ends() { # ends STORE: its process
    wait_for no_process_of "$work/$1.weir"
}

# Replaced: A, unmounted lazily, lives on by a file that is open; B is mounted where it was.
replaced() { # replaced timeout|signal
    local option=
    [ "$1" = signal ] || option=-otimeout=2
    # shellcheck disable=SC2086
    "$WEIR" mount "$work/a.weir" mnt $option
    exec 7<mnt/noise
    "$WEIR" umount -l mnt
    "$WEIR" mount "$work/b.weir" mnt
    if [ "$1" = signal ]; then
        kill -TERM "$(processes_of "$work/a.weir")"
        ends a
        sleep 1
        b_is_there "$mnt" "A was ended by a signal"
    else
        sleep 5 # A is idle, twice
        b_is_there "$mnt" "A is idle"
        cmp a/noise - <&7 || fail "A reads wrong"
    fi
    exec 7<&-
    ends a
    b_is_there "$mnt" "A has ended"
    [ "$(mounts "$mnt")" = 1 ] || fail "more than B: $(grep "$work" /proc/mounts)"
    expect 0 "$WEIR" umount mnt
    ends b
}
replaced timeout
replaced signal

# Covered: B lies over A, whose time comes again and again.
"$WEIR" mount "$work/a.weir" mnt -o timeout=2
"$WEIR" mount "$work/b.weir" mnt
for _ in 1 2 3; do
    sleep 2
    b_is_there "$mnt" "A is idle below it"
done
[ -n "$(processes_of "$work/b.weir")" ] || fail "B has ended"
expect 0 "$WEIR" umount mnt
ends b
if is_mounted "$mnt"; then # A went while it was covered, or goes now
    cmp a/noise mnt/noise || ! is_mounted "$mnt" || fail "A reads wrong"
fi
a_has_gone() { ! is_mounted "$mnt" && no_process_of "$work/a.weir"; }
within 8 a_has_gone || fail "A is idle and stays"

# Covered, and A is ended by a signal: B stays until somebody unmounts it.
"$WEIR" mount "$work/a.weir" mnt
"$WEIR" mount "$work/b.weir" mnt
kill -TERM "$(processes_of "$work/a.weir")"
sleep 2
b_is_there "$mnt" "A, below it, was ended by a signal"
expect 0 "$WEIR" umount mnt
ends b
while is_mounted "$mnt"; do expect 0 "$WEIR" umount mnt; done
ends a
