#!/usr/bin/env bash
# What differs on a terminal: the bar, escaped names, and no store on the screen.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"
command -v script >/dev/null || skip "no script(1)"

# on_terminal CODE COMMAND: stdin, stdout and stderr are a terminal; what it shows is in $out.
on_terminal() {
    local want=$1 got=0
    TERM=xterm script -qec "$2" /dev/null >.shown </dev/null || got=$?
    out=$(tr -d '\0' <.shown)
    [ "$got" = "$want" ] || die "exit code $got, not $want: $2 ($out)"
}

mkdir tree
head -c 60000000 /dev/urandom >tree/random
printf 'x' >"tree/$(printf 'red\033[31m')"
printf 'x' >"tree/$(printf 'bad\377')"

on_terminal 0 "'$WEIR' pack tree t.weir"
grep -qE 'packing \[[#.]+\] +[0-9]+%' <<<"$out" || die "no bar: $out"
grep -q "$(printf '\r *\r3 files, 60.0 MB')" <<<"$out" || die "the bar is not wiped: $out"
on_terminal 0 "'$WEIR' pack -qf tree t.weir"
[ -z "$out" ] || die "-q shows $out"
on_terminal 0 "TERM=dumb '$WEIR' pack -f tree t.weir"
grep -q packing <<<"$out" && die "a bar on a dumb terminal"
expect 0 "$WEIR" pack -f tree t.weir
[ -z "$err" ] || die "a bar in a file: $err"

on_terminal 1 "'$WEIR' pack tree -"
grep -q 'stdout is a terminal; redirect it' <<<"$out" || die "$out"

# A name cannot write to the terminal; a pipe gets the very bytes.
on_terminal 0 "'$WEIR' ls t.weir"
grep -qF 'red\x1b[31m' <<<"$out" || die "$out"
grep -qF 'bad\xff' <<<"$out" || die "$out"
expect 0 "$WEIR" ls t.weir
LC_ALL=C grep -q "$(printf 'bad\377$')" .out || die "not the very bytes"
rm -r tree && mkdir tree && mkfifo "tree/$(printf 'red\033[31m')"
on_terminal 4 "'$WEIR' pack tree x.weir"
grep -qF 'tree/red\x1b[31m: a FIFO' <<<"$out" || die "$out"
