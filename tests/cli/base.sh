#!/usr/bin/env bash
# A store that is packed against a base: what it takes, who needs the base, where it is looked for,
# and what is said when it is not there or another one.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
relative=$WEIR_BUILD/tests/gen_relative
[ -n "${WEIR_GEN:-}" ] && [ -x "$relative" ] || skip "no generator"
cd "$tmp"

"$WEIR_GEN" a --megabytes 6 --shards 2
mkdir b other
cp a/*.json b/
for f in a/*.safetensors; do "$relative" nudge "$f" "b/$(basename "$f")" 9; done
words 100000 >b/notes.txt
size() { stat -c %s "$1"; }

expect 0 "$WEIR" pack a a.weir
a=$(sed -n 's/^sha256://p' <<<"$out")
[ -n "$a" ] || die "no digest: $out"
expect 0 "$WEIR" pack b alone.weir
expect 0 "$WEIR" pack --base a.weir b b.weir
grep -q "^needs its base, sha256:$a" <<<"$out" || die "pack does not name the base: $out"
[ "$(size b.weir)" -lt $(($(size alone.weir) / 2)) ] || die "a difference of $(size b.weir) bytes"

# The base lies beside it, under whatever name; nobody names it.
expect 0 "$WEIR" unpack b.weir out
same_tree b out
expect 0 "$WEIR" verify b.weir --against b
mv a.weir some-name.weir
expect 0 "$WEIR" verify b.weir
(cd other && expect 0 "$WEIR" verify ../b.weir)
expect 0 "$WEIR" ls -t b.weir
grep -q 'BF16  *difference' <<<"$out" || die "no difference: $out"
grep -q "^needs its base, sha256:$a" <<<"$out" || die "ls does not name the base"
expect 0 "$WEIR" ls b.weir --json
json "d['base'] == '$a'"

# Elsewhere it must be named.
mv some-name.weir other/a.weir
for command in unpack verify run; do
    where=()
    [ $command != unpack ] || where=(out2)
    [ $command != run ] || where=(-p Once)
    expect 2 "$WEIR" $command b.weir "${where[@]}"
    says "^weir $command: b.weir: it needs its base, the store sha256:$a, .*; name it with --base"
done
[ ! -e out2 ] || die "a tree without the base"
expect 0 "$WEIR" ls b.weir
expect 0 "$WEIR" unpack --base other/a.weir b.weir out2
same_tree b out2
expect 0 "$WEIR" verify --base other/a.weir b.weir --json
json 'd["ok"]'

# Damage is worse than a lack: without the base the stored bytes are checked all the same.
cp b.weir broken.weir
printf '\377\377\377\377' | dd of=broken.weir bs=1 seek=9000 conv=notrunc status=none
expect 3 "$WEIR" verify broken.weir
says 'extent 0'

# Another one, one that is not there, one that is no store, one that needs one itself.
expect 3 "$WEIR" unpack --base alone.weir b.weir out3
says "it needs the base sha256:$a; the one given is sha256:[0-9a-f]{64}; name that one with --base"
expect 2 "$WEIR" unpack --base nowhere.weir b.weir out3
says "its base sha256:$a, nowhere.weir: "
expect 3 "$WEIR" unpack --base a/config.json b.weir out3
expect 4 "$WEIR" pack --base b.weir b c.weir
says 'the base needs a base itself; pack against that one'
expect 2 "$WEIR" pack --base nowhere.weir b c.weir
says '^weir pack: the base, nowhere.weir: '
[ ! -e c.weir ] && [ ! -e out3 ] || die "left behind"
no_leftovers .

# The base is not replaced by what needs it, whatever it is called.
ln -s a.weir other/link.weir
for name in a link; do
    expect 1 "$WEIR" pack -f --base other/a.weir b other/$name.weir
    says "^weir pack: other/$name.weir: is the base, which the new store would need"
done
expect 0 "$WEIR" verify --base other/a.weir b.weir

# All of it the same: nothing but an index.  Nothing the same: no base.
expect 0 "$WEIR" pack --base other/a.weir a same.weir
[ "$(size same.weir)" -lt 16384 ] || die "the same takes $(size same.weir) bytes"
expect 0 "$WEIR" ls -t same.weir
grep -q 'same as base' <<<"$out" || die "ls: $out"
expect 0 "$WEIR" unpack --base other/a.weir same.weir same
same_tree a same
"$WEIR_GEN" c --megabytes 3 --seed 9
rm -f c/*.json
mkdir d && cp c/*.safetensors d/
expect 0 "$WEIR" pack d d.weir
expect 0 "$WEIR" pack --base other/a.weir d d2.weir
cmp d.weir d2.weir || die "a store that is not alike is another one with a base"
expect 0 "$WEIR" unpack --base other/a.weir d2.weir d3 # it is not needed, and does no harm

# Of parts and of what is not whole.
head -c 5000 other/a.weir >short.weir
expect 3 "$WEIR" unpack --base short.weir b.weir out3

# Real ones: two checkpoints of one training run, as F32 and rounded to BF16.
pair=$WEIR_SHARED/models/delta
[ -d "$pair" ] || exit 0
for kind in f32 bf16; do
    for n in 2000 2400; do
        mkdir -p $kind-$n
        if [ $kind = f32 ]; then
            cp "$pair/checkpoint-$n.safetensors" $kind-$n/model.safetensors
        else
            "$relative" bf16 "$pair/checkpoint-$n.safetensors" $kind-$n/model.safetensors
        fi
    done
    expect 0 "$WEIR" pack $kind-2000 $kind-2000.weir
    expect 0 "$WEIR" pack --base $kind-2000.weir $kind-2400 $kind-2400.weir
    expect 0 "$WEIR" verify $kind-2400.weir --against $kind-2400
    most=64
    [ $kind = f32 ] || most=27
    plain=$(size $kind-2400/model.safetensors)
    stored=$(size $kind-2400.weir)
    echo "$kind: $stored of $plain bytes"
    [ $((100 * stored)) -le $((most * plain)) ] || die "$kind: $stored of $plain"
done
