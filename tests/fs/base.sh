#!/usr/bin/env bash
# A store that needs a base, mounted: the base beside it or named, references and differences read
# from several threads; a base that is missing, another one, or damaged while it is in use.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
relative=$WEIR_BUILD/tests/gen_relative
[ -n "${WEIR_GEN:-}" ] && [ -x "$relative" ] || skip "no generator"

"$WEIR_GEN" "$work/a" --megabytes 12 --shards 3
mkdir "$work/b" "$work/away"
cp "$work"/a/* "$work/b/" # one file stays the same
for f in "$work"/a/model-0000[12]*; do
    "$relative" nudge "$f" "$work/b/$(basename "$f")" 9
done
head -c 300000 /dev/urandom >"$work/b/more"
"$WEIR" pack -q "$work/a" "$work/a.weir"
"$WEIR" pack -q --base "$work/a.weir" "$work/b" "$work/b.weir"

same_tree() {
    diff -r "$work/b" "$mnt" || fail "files differ"
}

stop() {
    fusermount3 -u "$mnt"
    mount_ends
}

# Beside it; few slots, so that tiles of references and others make room for each other.
for how in cache=64M cache=1M,threads=8; do
    mount_up "$work/b.weir" -o $how
    same_tree
    find "$mnt" -type f -print0 | xargs -0 -P4 -n1 sha256sum | sed "s| $mnt/| |" | sort >"$work/sums"
    (cd "$work/b" && find . -type f -print0 | xargs -0 -n1 sha256sum | sed 's| ./| |' | sort) |
        diff - "$work/sums" || fail "sums with $how"
    cmp "$work/b.weir" "$mnt/.weir/store" || fail ".weir/store"
    stop
done

# Elsewhere: it is said what is missing; named, it is taken.
mv "$work/a.weir" "$work/away/"
! "$WEIR" mount "$work/b.weir" "$mnt" 2>"$work/said" || fail "mounted without its base"
grep -q 'needs its base, the store sha256:[0-9a-f]*, .*--base' "$work/said" || fail "said: $(cat "$work/said")"
mount_up "$work/b.weir" -o base="$work/away/a.weir"
same_tree
stop
! "$WEIR" mount -o base="$work/b.weir" "$work/b.weir" "$mnt" 2>"$work/said" || fail "its own base"
grep -q 'it needs the base sha256:' "$work/said" || fail "said: $(cat "$work/said")"

# Damaged while it is mounted: what is read of it is right or an error, and the log says whose.
mount_up "$work/b.weir" --base "$work/away/a.weir" -o cache=128Ki
python3 - "$work/away/a.weir" <<'EOF' 2>/dev/null || skip "no python3"
import os, sys
f = os.open(sys.argv[1], os.O_RDWR)
for at in range(8192, os.path.getsize(sys.argv[1]) - 200000, 50000):
    os.pwrite(f, b"\xff\x00\xff\x00", at)
os.close(f)
EOF
bad=0
for f in "$mnt"/*; do
    if ! cat "$f" >"$work/got" 2>/dev/null; then
        bad=$((bad + 1))
    else
        cmp "$work/got" "$work/b/$(basename "$f")" || fail "wrong bytes of $f"
    fi
done
[ $bad -gt 0 ] || fail "no error though the base is damaged"
grep -q 'its base: ' "$log" || fail "the log does not say that it is the base"
stop
