#!/usr/bin/env bash
# A disk that fills up: exit code 2, and nothing half-written under the final name.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

[ "$(id -u)" = 0 ] || skip "needs root to mount a small tmpfs"
mkdir small
mount -t tmpfs -o size=4m tmpfs small 2>/dev/null || skip "cannot mount a tmpfs here"
mounts+=("$tmp/small")

mkdir tree
echo first >tree/a-small-one
head -c 9000000 /dev/urandom >tree/large
expect 2 "$WEIR" pack tree small/out.weir
says '^weir pack: small/out.weir: No space left on device; free some space'
[ -z "$(ls -A small)" ] || die "pack left: $(ls -A small)"
echo old >small/out.weir
expect 2 "$WEIR" pack -f tree small/out.weir --json
json 'd["error"]["code"] == 2 and d["error"]["kind"] == "io"'
[ "$(cat small/out.weir)" = old ] && [ "$(ls -A small)" = out.weir ] || die "the old store is gone"
rm small/out.weir

expect 0 "$WEIR" pack tree out.weir
expect 2 "$WEIR" unpack out.weir small/out
says '^weir unpack: small/out/large: No space left on device; free some space'
[ -z "$(ls -A small)" ] || die "unpack left: $(find small)"
mkdir small/out && echo old >small/out/large
expect 2 "$WEIR" unpack -f out.weir small/out
[ "$(cat small/out/large)" = old ] || die "the old file is gone"
no_leftovers small
