#!/usr/bin/env bash
# weir mount as a command: when it returns, what it says, how it ends.  (tests/fs looks through it.)
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

mkdir tree at
words 300000 >tree/words.txt
expect 0 "$WEIR" pack tree t.weir
if "$WEIR" --version | grep -q 'mount no'; then
    expect 4 "$WEIR" mount t.weir at
    says 'without libfuse3'
    exit 0
fi
expect 2 "$WEIR" mount nowhere at
expect 3 "$WEIR" mount tree/words.txt at
expect 2 "$WEIR" mount t.weir nowhere
says '^weir mount: nowhere: No such'
expect 1 "$WEIR" mount --cache 1k t.weir at
says 'cache is at least 128Ki'
expect 2 "$WEIR" mount t.weir tree/words.txt
(exec 3<>/dev/fuse) 2>/dev/null || skip "no /dev/fuse"

# In the background: when it returns the files are there.
mounts+=("$tmp/at")
expect 0 "$WEIR" mount t.weir at
cmp tree/words.txt at/words.txt || die "through the mount"
expect 0 "$WEIR" verify t.weir --against at
fusermount3 -u at
[ -z "$(ls -A at)" ] || die "still mounted"
expect 0 "$WEIR" mount --json -o ro t.weir at --cache 1Mi
json 'd["mountpoint"] == "at" and d["pid"] > 0'
cmp tree/words.txt at/words.txt || die "through the second mount"
fusermount3 -u at

# From a process without stdin, stdout and stderr: /dev/fuse must not be taken for one of them.
timeout 20 "$WEIR" mount t.weir at <&- >&- 2>&- || die "with closed descriptors: exit code $?"
cmp tree/words.txt at/words.txt || die "through a mount from closed descriptors"
fusermount3 -u at

# In the foreground: SIGTERM unmounts and the exit code is 0.
"$WEIR" mount -f t.weir at >fg.out 2>fg.err &
pid=$!
for _ in {1..200}; do
    [ ! -e at/words.txt ] || break
    sleep 0.05
done
cmp tree/words.txt at/words.txt || die "in the foreground: $(cat fg.err)"
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" = 0 ] || die "SIGTERM gives $code: $(cat fg.err)"
[ -z "$(ls -A at)" ] || die "still mounted after SIGTERM"
