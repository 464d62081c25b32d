#!/usr/bin/env bash
# Symbolic links on the way in (followed, kept, refused) and in the way of unpacking.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

# A Hub cache: snapshots are links to blobs, and folders may be links too.
mkdir -p hub/blobs hub/snapshots/rev hub/refs
words 90000 >hub/blobs/0123abcd
echo '{}' >hub/blobs/4567
ln -s ../../blobs/0123abcd hub/snapshots/rev/model.safetensors
ln -s ../../blobs/4567 hub/snapshots/rev/config.json
ln -s rev hub/snapshots/main
expect 0 "$WEIR" pack hub/snapshots/rev rev.weir
expect 0 "$WEIR" unpack rev.weir rev
[ ! -L rev/model.safetensors ] && cmp rev/model.safetensors hub/blobs/0123abcd || die "followed"
expect 0 "$WEIR" verify rev.weir --against hub/snapshots/rev
expect 0 "$WEIR" pack hub/snapshots/main main.weir
cmp rev.weir main.weir || die "a link as SRC shows"
expect 0 "$WEIR" pack hub followed.weir
expect 0 "$WEIR" unpack followed.weir followed
cmp followed/snapshots/main/config.json hub/blobs/4567 || die "a link to a folder"
# What is the same is stored once: four links cost next to nothing.
[ "$(stat -c %s followed.weir)" -lt $(($(stat -c %s rev.weir) + 8192)) ] || die "stored twice"

# --keep-links
expect 0 "$WEIR" pack --keep-links hub kept.weir
expect 0 "$WEIR" unpack kept.weir kept
same_tree hub kept
expect 0 "$WEIR" verify kept.weir --against hub
expect 0 "$WEIR" ls kept.weir
grep -qF 'snapshots/main -> rev' <<<"$out" || die "ls: $out"
expect 0 "$WEIR" ls --json kept.weir
json 'any(e.get("target") == "rev" and e["kind"] == "link" for e in d["entries"])'
expect 2 "$WEIR" pack --keep-links hub/snapshots/rev bad.weir
says 'snapshots/rev/config.json: the link leaves the tree'
ln -s "$tmp/hub/blobs/4567" hub/absolute
expect 2 "$WEIR" pack --keep-links hub bad.weir
says 'hub/absolute: the link leaves the tree'
rm hub/absolute
# Up again after a name: where that leads depends on what the name is, so no store holds it.
ln -s blobs/../refs hub/up-again
expect 2 "$WEIR" pack --keep-links hub bad.weir
says 'hub/up-again: the link leaves the tree, or may \(to blobs/../refs\); without --keep-links'
expect 0 "$WEIR" pack hub up-again.weir
rm hub/up-again

# Dangling, looping and endless links; what is neither file nor folder.
mkdir bad
ln -s nowhere bad/gone
for how in '' --keep-links; do
    # shellcheck disable=SC2086
    expect 2 "$WEIR" pack bad bad.weir $how
    says 'bad/gone: a dangling link'
done
rm bad/gone && ln -s me bad/me
expect 2 "$WEIR" pack bad bad.weir
says 'bad/me: a dangling link'
rm bad/me && mkdir bad/sub && ln -s .. bad/sub/up
expect 2 "$WEIR" pack bad bad.weir
says 'bad/sub/up: the link leads back'
expect 0 "$WEIR" pack --keep-links bad up.weir
rm bad/sub/up && mkfifo bad/sub/fifo
expect 4 "$WEIR" pack bad bad.weir
says 'bad/sub/fifo: a FIFO cannot be packed'
expect 4 "$WEIR" pack bad/sub/fifo bad.weir
[ ! -e bad.weir ] || die "a store in spite of an error"

# Links in the way of unpacking are never followed.
for force in '' -f; do
    rm -rf target outside
    mkdir target outside
    echo precious >outside/config.json
    ln -s ../outside target/snapshots
    # shellcheck disable=SC2086
    expect 2 "$WEIR" unpack followed.weir target $force
    says 'target/snapshots.*: a link or a file is where a folder belongs'
    [ "$(ls -A outside)$(ls -A target)" = config.jsonsnapshots ] || die "left: $(ls target outside)"
done
rm -rf target && mkdir target
ln -s ../outside/config.json target/config.json
expect 2 "$WEIR" unpack rev.weir target
says 'target/config.json: exists already; use -f'
[ "$(ls -A target)" = config.json ] || die "something was unpacked all the same"
expect 0 "$WEIR" unpack -f rev.weir target
[ ! -L target/config.json ] && [ "$(cat outside/config.json)" = precious ] || die "through the link"
# The folder itself may be a link: the user named it.
mkdir real && ln -s real named
expect 0 "$WEIR" unpack rev.weir named
cmp real/config.json hub/blobs/4567 || die "DIR is a link"
