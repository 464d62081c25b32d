#!/usr/bin/env bash
# Help, version, and command lines that make no sense.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"
mkdir dir
echo x >dir/x

expect 0 "$WEIR" --help
grep -q '^Usage: weir COMMAND' <<<"$out" || die "no usage"
expect 0 "$WEIR" --version
grep -qE '^weir [0-9]+\.[0-9]+\.[0-9]+ ' <<<"$out" || die "version: $out"
runs=no
! grep -q 'run yes' <<<"$out" || runs=yes
for cmd in pack unpack verify ls mount umount fetch run bench; do
    expect 0 "$WEIR" --help
    grep -qE "^  $cmd +[A-Z]" <<<"$out" || die "--help lacks $cmd"
    expect 0 "$WEIR" "$cmd" --help
    for part in "^Usage: weir $cmd " '^Options:' '^Examples:' '^Exit codes:' '--json' '--quiet'; do
        grep -qE -- "$part" <<<"$out" || die "$cmd --help lacks $part"
    done
    help=$out
    expect 0 "$WEIR" help "$cmd"
    [ "$out" = "$help" ] || die "help $cmd differs from $cmd --help"
    if [ "$cmd" = run ] && [ "$runs" = no ]; then # needs a model or an option: it looks itself
        expect 4 "$WEIR" "$cmd" model -p text
        says 'built without libpcre2 or libutf8proc; install libpcre2-dev'
        expect 4 "$WEIR" doctor
        says 'built without libpcre2 or libutf8proc'
        continue
    fi
    expect 1 "$WEIR" "$cmd"
    says "^weir $cmd: needs .*; try 'weir $cmd --help'"
    expect 1 "$WEIR" "$cmd" --no-such-option
    says "unknown option '--no-such-option'; try 'weir $cmd --help'"
    expect 1 "$WEIR" "$cmd" -Z a b
    says "unknown option '-Z'"
    if [ "$cmd" != umount ]; then # takes any number
        expect 1 "$WEIR" "$cmd" a b c d
        says 'one operand too many'
    fi
    expect 1 "$WEIR" "$cmd" --json
    json 'd["error"]["code"] == 1 and d["error"]["kind"] == "usage" and d["error"]["message"]'
    expect 1 "$WEIR" "$cmd" --quiet=yes a b
    says 'takes no argument'
done

expect 1 "$WEIR"
expect 1 "$WEIR" frobnicate
says "unknown command 'frobnicate'; try 'weir --help'"
expect 1 "$WEIR" --frobnicate
says "unknown option '--frobnicate'; try 'weir --help'"
expect 1 "$WEIR" help frobnicate
for n in 0 -1 x 1x 99999999999999999999 ''; do
    expect 1 "$WEIR" pack dir out.weir -j "$n"
    says 'threads is a number'
done
expect 1 "$WEIR" pack dir out.weir -j
says 'needs an argument'
expect 1 "$WEIR" bench codec --size 3x
expect 1 "$WEIR" bench codec --size 1
expect 1 "$WEIR" bench codec --dtype f7
expect 1 "$WEIR" bench speed
if "$WEIR" --version | grep -q 'mount yes'; then
    expect 1 "$WEIR" mount -o rw dir dir
    says "mount option 'rw': .*, use ro"
else # built without libfuse3
    expect 4 "$WEIR" mount dir dir
    says 'libfuse3'
fi
expect 1 "$WEIR" pack '' out.weir
[ ! -e out.weir ] || die "a store in spite of all that"

# Options stand anywhere, and -- ends them.
expect 0 "$WEIR" pack dir -q out.weir -j 2
[ -z "$out$err" ] || die "-q says: $out$err"
expect 0 "$WEIR" pack -fqj2 dir out.weir
mv out.weir -- --json
expect 0 "$WEIR" ls -- --json
grep -q ' x$' <<<"$out" || die "ls: $out"

# What cannot be printed is an error; what is closed is not taken for something else.
cp ./--json out.weir
for words in --help --version 'pack --help' 'ls out.weir'; do
    # shellcheck disable=SC2086
    expect 2 bash -c '"$@" >/dev/full' bash "$WEIR" $words
    says 'standard output: No space left on device'
done
expect 2 bash -c '"$@" <&- >&-' bash "$WEIR" pack -f dir out.weir
cmp ./--json out.weir || die "the summary went into the store"

# Out of memory has a code of its own, and leaves nothing.  (Sanitizers need the addresses.)
if [ -z "${WEIR_SANITIZE:-}" ]; then
    room=20000 # kilobytes: what it takes to start, and little more
    until (ulimit -v "$room" && exec "$WEIR" --version) >/dev/null 2>&1; do room=$((room + 4000)); done
    expect 6 bash -c 'ulimit -v "$1"; shift; exec "$@"' bash "$room" "$WEIR" pack dir small.weir
    says 'out of memory'
    [ ! -e small.weir ] || die "a store in spite of too little memory"
    no_leftovers .
fi
