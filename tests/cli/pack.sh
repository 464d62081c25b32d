#!/usr/bin/env bash
# Trees in, the same trees out: names, kinds, permissions, links and bytes.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

mkdir -p odd/empty/deep/er odd/a odd/a-b 'odd/with space'
words 300000 >odd/words.txt
head -c 200000 /dev/zero >odd/zeros.bin
: >odd/nothing
printf 'x' >odd/a/one
printf 'y' >odd/a.b
printf 'z' >odd/a-b/z
words 70000 >odd/a/model.safetensors # anything but one
printf '\x10\0\0\0\0\0\0\0{"a":1}' >odd/cut.safetensors
printf 'GGUF\3\0\0\0' >odd/cut.gguf
printf 'n' >"odd/$(printf 'new\nline')"
printf 'n' >"odd/$(printf 'not\377utf8')"
printf 'n' >"odd/$(printf 'k%.0s' {1..255})"
printf 'd' >'odd/--dash' && printf 's' >'odd/with space/ s '
chmod 0400 odd/nothing
chmod 0755 odd/a/one
chmod 0711 odd/a
chmod 4755 odd/a.b
chmod 0500 odd/empty/deep
chmod 1777 'odd/with space'

expect 0 "$WEIR" pack odd one.weir -j1
grep -qE '^14 files, ' <<<"$out" || die "pack says: $out"
expect 0 "$WEIR" pack odd four.weir -j4
cmp one.weir four.weir || die "the number of threads shows"
"$WEIR" pack odd - -q | cat >piped.weir
cmp one.weir piped.weir || die "a pipe shows"
expect 0 "$WEIR" pack odd/ slash.weir --json
cmp one.weir slash.weir || die "a trailing slash shows"
json 'd["plain_bytes"] > 500000 and d["stored_bytes"] == '"$(stat -c %s slash.weir)"
json 'len(d["digest"]) == 64 and d["ratio"] > 1 and d["seconds"] >= 0 and d["files"] == 14'
expect 0 "$WEIR" pack odd - --json
[ "$(stat -c %s .out)" = "$(stat -c %s one.weir)" ] || die "stdout carries more than the store"
no_leftovers .

for threads in 1 3; do
    expect 0 "$WEIR" unpack four.weir "out$threads" -j "$threads"
    same_tree odd "out$threads"
done
expect 0 "$WEIR" verify four.weir --against odd
expect 0 "$WEIR" verify four.weir --json
json 'd["ok"] is True and d["tiles"] > 0 and d["extents"] > 0 and len(d["digest"]) == 64'
expect 0 "$WEIR" ls --json --tensors four.weir
json 'len(d["entries"]) == 20 and all("path" in e and "kind" in e for e in d["entries"])'
json '[e for e in d["entries"] if e["path"] == "a.b"][0]["mode"] == 0o4755'
json 'any("not\ufffdutf8" == e["path"] for e in d["entries"])'

# One file, an empty file, an empty folder.
expect 0 "$WEIR" pack odd/words.txt single.weir
expect 0 "$WEIR" unpack single.weir single
[ "$(ls -A single)" = words.txt ] && cmp odd/words.txt single/words.txt || die "single"
expect 0 "$WEIR" verify single.weir --against odd/words.txt
: >empty-file && mkdir empty-dir
for what in empty-file empty-dir; do
    expect 0 "$WEIR" pack "$what" "$what.weir"
    expect 0 "$WEIR" verify "$what.weir"
    expect 0 "$WEIR" ls "$what.weir"
    expect 0 "$WEIR" unpack "$what.weir" "$what.out"
done
[ -f empty-file.out/empty-file ] && [ ! -s empty-file.out/empty-file ] || die "empty file"
same_tree empty-dir empty-dir.out

# DST: what exists stays unless -f; it may lie in SRC; a link is written through.
expect 2 "$WEIR" pack odd/words.txt single.weir
says 'single.weir: exists already; use -f'
expect 0 "$WEIR" pack -f odd/a single.weir
expect 0 "$WEIR" ls single.weir
grep -q one <<<"$out" || die "-f kept the old store"
mkdir self && cp odd/words.txt self
expect 0 "$WEIR" pack self self/self.weir
expect 0 "$WEIR" pack -f self self/self.weir
expect 0 "$WEIR" ls -q self/self.weir
[ "$(wc -l <<<"$out")" = 1 ] || die "the store packed itself: $out"
"$WEIR" pack -q self - >self/two.weir
rm self/self.weir
"$WEIR" pack -q self - >self/two.weir
expect 0 "$WEIR" ls -q self/two.weir
[ "$(wc -l <<<"$out")" = 1 ] || die "stdout's file packed itself: $out"
ln -s elsewhere.weir link.weir && cp single.weir elsewhere.weir
expect 2 "$WEIR" pack odd link.weir
expect 0 "$WEIR" pack -f odd link.weir
[ -L link.weir ] && cmp elsewhere.weir one.weir || die "the link was replaced"
expect 0 "$WEIR" pack odd /dev/null
[ -c /dev/null ] || die "the device was replaced"
expect 2 "$WEIR" pack odd self
says 'is a directory'

# Permissions of the store are the user's choice.
(umask 027 && expect 0 "$WEIR" pack odd/a umask.weir)
[ "$(stat -c %a umask.weir)" = 640 ] || die "mode $(stat -c %a umask.weir)"
no_leftovers .
