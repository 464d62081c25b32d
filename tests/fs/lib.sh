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

work=$(mktemp -d "${place:-$PWD}/fs.XXXXXX") # a script may set place before
mnt=$work/mnt
log=$work/log
daemon=
helpers=() # pids of background jobs, which end with the test
mkdir "$mnt"

# No pid is left alone with a mount that hangs: without its daemon a mount answers with errors.
cleanup() {
    [ ${#helpers[@]} = 0 ] || kill "${helpers[@]}" 2>/dev/null || true
    if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
        within 5 gone "$daemon" || kill -KILL "$daemon" || true
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

within() { # within SECONDS COMMAND...: is it true in that time?
    local i
    for ((i = 0; i < $1 * 40; i++)); do
        ! "${@:2}" || return 0
        sleep 0.025
    done
    return 1
}

wait_for() { # wait_for COMMAND...: until it is true, 20 seconds at most
    within 20 "$@" || fail "waited in vain for: $*"
}

gone() { # gone PID
    ! kill -0 "$1" 2>/dev/null
}

mount_up() { # mount_up STORE [OPTION...]: on $mnt, in the foreground of a background job $daemon
    # A shell ignores SIGINT in what it starts in the background.
    env --default-signal=INT "$WEIR" mount -f "${@:2}" "$1" "$mnt" 2>>"$log" &
    daemon=$!
    up_or_gone() { is_mounted "$mnt" || gone "$daemon"; }
    within 20 up_or_gone || true
    is_mounted "$mnt" || fail "no mount"
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

flip() { # flip FILE OFFSET: one bit
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

sanitized() {
    [ -n "${WEIR_SANITIZE:-}" ]
}

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

forget() { # forget [all]: the page cache goes; as root with `all`, that of the whole machine
    if [ "${1:-}" = all ] && [ -w /proc/sys/vm/drop_caches ]; then
        echo 3 >/proc/sys/vm/drop_caches
    else
        find "$mnt" -type f -exec "$probe" forget {} +
    fi
}

processes_of() { # processes_of STORE: that have it on their command line
    grep -lzxF -f <(echo "$1") /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 || true
}
no_process_of() {
    [ -z "$(processes_of "$1")" ]
}

expect() { # expect CODE COMMAND...: its stderr in $said
    local want=$1 got=0
    shift
    said=$("$@" 2>&1 >"$work/printed" </dev/null) || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, not $want: $* ($said)"
}
says() { # says TEXT: in the last command's stderr
    [[ $said == *"$1"* ]] || fail "'$1' is not said: $said"
}

private_mounts() { # the script begins again in a mount namespace of its own, as root
    [ "${WEIR_PRIVATE:-}" != yes ] || return 0
    trap - EXIT
    rm -rf "$work"
    [ "$(id -u)" = 0 ] || skip "not root"
    unshare -m true 2>/dev/null || skip "no mount namespaces"
    WEIR_PRIVATE=yes exec unshare -m bash "$0"
}

private_dev() { # a /dev whose fuse is everybody's and whose log is free; after private_mounts
    mkdir "$work/.dev"
    mount -t tmpfs -o mode=755 none "$work/.dev" || skip "no tmpfs"
    cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/fuse "$work/.dev/" ||
        skip "no device nodes can be made"
    chmod 666 "$work/.dev/fuse"
    ln -s /proc/self/fd "$work/.dev/fd"
    mount --move "$work/.dev" /dev
    rmdir "$work/.dev"
}

helpers_in_sbin() { # mount.weir and mount.fuse.weir where mount(8) looks; after private_mounts
    local sbin
    sbin=$(readlink -f /sbin)
    mkdir "$work/.over"
    mount -t tmpfs -o mode=755 none "$work/.over" || skip "no tmpfs"
    mkdir "$work/.over/up" "$work/.over/work"
    mount -t overlay -o "lowerdir=$sbin,upperdir=$work/.over/up,workdir=$work/.over/work" none "$sbin" \
        2>/dev/null || skip "no overlay on $sbin"
    ln -sf "$WEIR" "$sbin/mount.weir"
    ln -sf "$WEIR" "$sbin/mount.fuse.weir"
    umount -l "$work/.over"
    rmdir "$work/.over"
}
