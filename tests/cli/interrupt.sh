#!/usr/bin/env bash
# SIGINT and SIGTERM: exit code 130 and nothing left behind.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

mkdir tree
for i in 1 2 3 4; do
    head -c 24000000 /dev/urandom >"tree/random$i"
    (words 2000000 && head -c 8000000 /dev/urandom) >"tree/mixed$i"
done
expect 0 "$WEIR" pack tree whole.weir

# start COMMAND...: in the background, its process in $pid.  A shell's background job ignores SIGINT;
# python's child does not.
start() {
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$@" >stop.out 2>stop.err &
    pid=$!
}
# stop SIGNAL MARK COMMAND...: sends it as soon as a file called like MARK is there and has grown.
# The exit code in $stopped.
stop() {
    local signal=$1 mark=$2 n=0
    shift 2
    start "$@"
    stopped=0
    while kill -0 "$pid" 2>/dev/null; do
        [ -z "$(find . -path "$mark" -size +0c -print -quit 2>/dev/null)" ] || break
        n=$((n + 1))
        [ "$n" -lt 20000 ] || die "never began: $*"
    done
    kill -"$signal" "$pid" 2>/dev/null || true
    wait "$pid" || stopped=$?
}

command -v python3 >/dev/null || skip "no python3"
met=0
for signal in INT TERM INT TERM; do
    stop "$signal" './out.weir.*.partial' "$WEIR" pack -j1 tree out.weir
    no_leftovers .
    if [ "$stopped" = 130 ]; then
        met=$((met + 1))
        [ ! -e out.weir ] || die "pack left a store"
        grep -q '^weir pack: interrupted' stop.err || die "$(cat stop.err)"
    else
        [ "$stopped" = 0 ] || die "pack: exit code $stopped: $(cat stop.err)"
        cmp out.weir whole.weir || die "finished, but otherwise"
        rm out.weir
    fi
    stop "$signal" './out/.weir-*.partial' "$WEIR" unpack -j1 whole.weir out
    if [ "$stopped" = 130 ]; then
        met=$((met + 1))
        [ ! -e out ] || die "unpack left: $(find out)"
    else
        [ "$stopped" = 0 ] || die "unpack: exit code $stopped: $(cat stop.err)"
        same_tree tree out
        rm -rf out
    fi
done
[ "$met" -gt 0 ] || die "no signal came in time"

# A pipe that nobody drains: pack hangs, but not on ^C.
mkfifo pipe
sleep 60 <>pipe &
reader=$!
start "$WEIR" pack tree pipe
for _ in {1..100}; do
    sleep 0.1
    [ "$(timeout 1 cat "/proc/$pid/comm" 2>/dev/null)" != python3 ] && break
done
sleep 1
kill -INT "$pid"
stopped=0
wait "$pid" || stopped=$?
kill "$reader"
[ "$stopped" = 130 ] || die "a full pipe: exit code $stopped"
grep -q '^weir pack: interrupted' stop.err || die "a full pipe: $(cat stop.err)"
