# Shared by the tests of the program: a folder of their own, and checks that say what failed.
# shellcheck shell=bash disable=SC2034
set -euo pipefail
: "${WEIR:?the program under test}"

skip() {
    echo "skipped: $*"
    exit 77
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/weir-cli.XXXXXX")
mounts=()
clean_up() {
    local at
    for at in "${mounts[@]}"; do
        umount "$at" 2>/dev/null || umount -l "$at" 2>/dev/null || true
    done
    chmod -R u+rwx "$tmp" 2>/dev/null || true
    rm -rf "$tmp"
}
trap clean_up EXIT

die() {
    echo "FAILED (${BASH_SOURCE[-1]##*/}:${BASH_LINENO[-2]}): $*" >&2
    exit 1
}

# expect CODE COMMAND...: runs it, its output in $out and $err.
out='' err=''
expect() {
    local want=$1 got=0
    shift
    "$@" >"$tmp/.out" 2>"$tmp/.err" </dev/null || got=$?
    out=$(tr -d '\0' <"$tmp/.out")
    err=$(tr -d '\0' <"$tmp/.err")
    [ "$got" = "$want" ] || die "exit code $got, not $want: $* ($err)"
}

# says PATTERN: the last command's stderr has a line that matches.
says() {
    grep -qE -- "$1" <<<"$err" || die "stderr lacks '$1': $err"
}

# Everything that a tree is: names, kinds, permissions, targets and bytes.
list_tree() {
    (cd "$1" && find . -mindepth 1 \( -type l -printf '%p %y %l\n' -o -printf '%p %y %m\n' \) |
        LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum)
}
same_tree() {
    list_tree "$1" >"$tmp/.a"
    list_tree "$2" >"$tmp/.b"
    cmp -s "$tmp/.a" "$tmp/.b" || die "trees differ: $(diff "$tmp/.a" "$tmp/.b" | head -5)"
}

# Nothing of a half-done run lies in a folder.
no_leftovers() {
    [ -z "$(find "$1" -name '*.partial*')" ] || die "left behind: $(find "$1" -name '*.partial*')"
}

# json EXPRESSION: stdout of the last command is one JSON value d, and the expression is true.
json() {
    command -v python3 >/dev/null || return 0
    python3 -c 'import json, sys
d = json.loads(sys.stdin.read())
if not eval(sys.argv[1]):
    sys.exit("false: %s of %s" % (sys.argv[1], d))' "$1" <<<"$out" || die "json: $1"
}

# words BYTES: repeatable text that is neither constant nor random.
words() {
    awk -v n="$1" 'BEGIN { s = 1; while (n > 0) { s = (s * 1103515245 + 12345) % 2147483648
        w = sprintf("%x ", s % 4096); print w; n -= length(w) + 1 } }' | head -c "$1"
}
