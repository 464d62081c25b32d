# Shared by the mount tests: a work folder, mounts that are taken down whatever happens, complaints.
# shellcheck shell=bash disable=SC2034  # the scripts use what is set here
set -euo pipefail

skip() {
    echo "skipped: $*"
    exit 77
}
fail() {
    echo "FAILED: $*"
    exit 1
}

[ -n "${WEIR:-}" ] || skip "no program to test"
[ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "no /dev/fuse that we may use"
command -v fusermount3 >/dev/null || skip "no fusermount3"
probe=$WEIR_BUILD/tests/fs_probe
[ -x "$probe" ] || skip "no fs_probe"

work=$(mktemp -d "$PWD/fs.XXXXXX")
mnt=$work/mnt
log=$work/log
daemon=
mkdir "$mnt"

cleanup() {
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        kill "$daemon" || true
        wait "$daemon" || true
    fi
    for dir in "$work"/*/; do
        ! is_mounted "${dir%/}" || fusermount3 -uz "$dir" || true
    done
    [ ! -e "$log" ] || sed 's/^/log: /' "$log" # a sanitizer's report, perhaps
    rm -rf "$work"
}
trap cleanup EXIT

is_mounted() { # is_mounted DIR
    grep -qF " $1 fuse.weir " /proc/mounts
}

wait_for() { # wait_for COMMAND...: until it is true, 20 seconds at most
    local i
    for ((i = 0; i < 400; i++)); do
        ! "$@" || return 0
        sleep 0.05
    done
    fail "waited in vain for: $*"
}

gone() { # gone PID
    ! kill -0 "$1" 2>/dev/null
}

mount_up() { # mount_up STORE [OPTION...]: on $mnt, in the foreground of a background job $daemon
    # A shell ignores SIGINT in what it starts in the background.
    env --default-signal=INT "$WEIR" mount -f "${@:2}" "$1" "$mnt" 2>>"$log" &
    daemon=$!
    local i
    for ((i = 0; i < 400; i++)); do
        ! is_mounted "$mnt" || return 0
        ! gone "$daemon" || break
        sleep 0.05
    done
    fail "no mount"
}

mount_ends() { # mount_ends: the daemon goes by itself, with exit code 0
    local status=0
    wait_for gone "$daemon"
    wait "$daemon" || status=$?
    daemon=
    [ "$status" = 0 ] || fail "the mount ended with exit code $status"
    ! is_mounted "$mnt" || fail "still mounted"
}

mount_down() {
    fusermount3 -u "$mnt"
    mount_ends
}
