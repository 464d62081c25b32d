#!/usr/bin/env bash
# ls, verify and unpack of a URL.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir tree
head -c 20000000 /dev/urandom >tree/random
words 3000000 >tree/words
echo hello >tree/hello
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
expect 0 "$WEIR" verify --json a.weir
digest=$(sed -n 's/.*"digest": "\(.*\)".*/\1/p' <<<"$out")
n_extents=$(sed -n 's/.*"extents": \([0-9]*\).*/\1/p' <<<"$out")
[ "$n_extents" -ge 5 ] || die "$n_extents extents only"

# Two requests tell all that the index knows.
serve a.weir
expect 0 "$WEIR" ls --json "$root/a.weir"
json "d['digest'] == '$digest' and d['stored_bytes'] == $size"
json '[e["path"] for e in d["entries"]] == ["hello", "random", "words"]'
json 'abs(sum(e.get("stored_bytes", 0) for e in d["entries"]) - d["stored_bytes"]) < 200000'
[ "$(logged 'len(d)')" = 2 ] || die "$(logged '[r["range"] for r in d]')"
expect 0 "$WEIR" ls -t "$root/a.weir?secret"
grep -q ' words$' <<<"$out" || die "$out"

# Every extent is asked for once.
serve a.weir
expect 0 "$WEIR" verify "$root/a.weir"
grep -q "^sha256:$digest" <<<"$out" || die "$out"
[ "$(logged 'len(d)')" = $((n_extents + 2)) ] || die "$(logged 'len(d)') requests"
[ "$(logged "sum(r['sent'] for r in d) < $size + 300000")" = True ] || die "too many bytes"
expect 0 "$WEIR" verify --against tree "$root/a.weir"
serve a.weir
expect 0 "$WEIR" unpack "$root/a.weir" out
same_tree tree out
[ "$(logged 'len(d)')" = $((n_extents + 2)) ] || die "$(logged 'len(d)') requests"

# An index that does not fit into what is asked for first.
python3 -c 'import os
os.mkdir("names")
for _ in range(6000):
    open("names/" + os.urandom(60).hex(), "w").close()'
expect 0 "$WEIR" pack names names.weir
[ "$(stat -c %s names.weir)" -gt 300000 ] || die "a small index"
serve names.weir
expect 0 "$WEIR" ls --json "$root/names.weir"
json 'len(d["entries"]) == 6000'
[ "$(logged 'len(d)')" = 3 ] || die "$(logged '[r["range"] for r in d]')"
[ "$(logged "sum(r['sent'] for r in d) <= $(stat -c %s names.weir) + 64")" = True ] || die "bytes twice"

# Bytes that were damaged on their way: found, and only their extent is asked for again.
for at in 5000 4200000 $((size / 2)); do
    serve a.weir "flip:$at,2"
    expect 0 "$WEIR" verify "$root/a.weir"
    [ "$(logged 'len(d)')" = $((n_extents + 4)) ] || die "$at: $(logged 'len(d)') requests"
done
for at in 20 4000 $((size - 20)) $((size - 100)); do # header, trailer, index
    serve a.weir "flip:$at,2"
    expect 0 "$WEIR" verify "$root/a.weir"
done
# Damaged for good: exit code 3, and none of it is handed on.
serve a.weir "flip:4200000,1000"
expect 3 "$WEIR" verify "$root/a.weir"
says 'extent 1.*SHA-256'
expect 3 "$WEIR" unpack "$root/a.weir" bad
says 'SHA-256'
[ ! -e bad/random ] || die "a file of unverified bytes"
no_leftovers .
serve a.weir "flip:$((size - 100)),1000"
expect 3 "$WEIR" ls "$root/a.weir"
serve a.weir "changed:etag"
expect 2 "$WEIR" verify "$root/a.weir"
says 'changed on the server'

# What is there, is something else, or is gone.
serve tree/words
expect 3 "$WEIR" ls "$root/words"
says 'not a store'
serve tree/hello
expect 3 "$WEIR" ls "$root/hello"
serve a.weir status:404,1
expect 2 "$WEIR" ls "$root/none?signature=secret"
says '^weir ls: http://127.0.0.1:[0-9]*/none: no such file'
! grep -q secret <<<"$err" || die "the signature is shown"
expect 1 "$WEIR" ls "http://user:secret@127.0.0.1/a.weir"
! grep -q secret <<<"$err" || die "the password is shown"
serve a.weir status:403,1
expect 5 "$WEIR" ls "$root/a.weir"
says 'refuses \(403\)'
json_error() { json "d['error']['kind'] == '$1'"; }
serve a.weir status:403,1
expect 5 "$WEIR" ls --json "$root/a.weir"
json_error network

# A token goes where HF_ENDPOINT says, and nowhere else.
serve a.weir
HF_TOKEN=SECRET HF_ENDPOINT=$root/ expect 0 "$WEIR" ls "$root/a.weir"
[ "$(logged '{r["headers"].get("authorization") for r in d}')" = "{'Bearer SECRET'}" ] || die "no token"
serve a.weir
HF_TOKEN=SECRET expect 0 "$WEIR" ls "$root/a.weir"
[ "$(logged '{r["headers"].get("authorization") for r in d}')" = "{None}" ] || die "a token leaks"
