#!/usr/bin/env bash
# What `weir fetch` does about the world: behaviour.sh BEHAVIOUR (a function below).  What servers do
# wrong is in faults.sh.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

make_store() { # make_store BYTES
    mkdir tree
    head -c "$1" /dev/urandom >tree/random
    expect 0 "$WEIR" pack tree a.weir
}
got() { cmp a.weir "${1:-b.weir}" || die "other bytes"; }
fails() { # fails CODE OPTION...: fetching ends so
    local code=$1
    shift
    expect "$code" "$WEIR" fetch "$@" "$root/b.weir"
    [ ! -e b.weir ] || die "a file with the store's name"
}
begin_slow() { # a fetch that takes its time, as process $pid
    "$WEIR" fetch -x 2 "$root/b.weir" >slow.out 2>&1 &
    pid=$!
    until [ -s b.weir.weir-partial ]; do
        kill -0 "$pid" || die "$(cat slow.out)"
        sleep 0.02
    done
}
# run_proxy OPTION...: whose URL is $proxy, and whose log $proxy_log.
n_proxies=0
# shellcheck disable=SC2034 # stay is held open
run_proxy() {
    local port
    n_proxies=$((n_proxies + 1))
    proxy_log=$tmp/proxy_log.$n_proxies
    : >"$proxy_log"
    mkfifo "proxy_stay.$n_proxies"
    python3 "$here/proxy.py" "$proxy_log" "$@" <"proxy_stay.$n_proxies" >"proxy_port.$n_proxies" &
    servers+=($!)
    exec {stay}>"proxy_stay.$n_proxies"
    until port=$(head -n 1 "proxy_port.$n_proxies") && [ -n "$port" ]; do sleep 0.05; done
    proxy=http://127.0.0.1:$port
}

stall_with_speed_limit_and_time() {
    make_store 3000000
    serve a.weir drip
    seconds fails 5 --speed-limit 1000 --speed-time 1 --retry 2
    says 'stalled: [0-9]+ bytes/s for 1 s \(3 tries\)'
    [ "$took" -lt 15000 ] || die "took $took ms"
    serve a.weir slow:1000000 # slow, and not too slow
    expect 0 "$WEIR" fetch --speed-limit 300K --speed-time 1 "$root/b.weir"
    got
    [ "$(logged 'len(d)')" = 3 ] || die "tried again"
}
limit_rate() {
    make_store 6000000
    serve a.weir
    seconds expect 0 "$WEIR" fetch --limit-rate 3M "$root/b.weir"
    got
    [ "$took" -ge 1700 ] && [ "$took" -le 6000 ] || die "6 MB at 3 MB/s took $took ms"
    # A disk that is full is heard of while the rate is held, too.
    if mkdir small && mount -t tmpfs -o size=2m tmpfs small 2>/dev/null; then
        mounts+=("$tmp/small")
        expect 2 "$WEIR" fetch --limit-rate 3M "$root/b.weir" small
        says 'No space left on device'
    fi
}
proxies() {
    need_nginx
    certificates
    make_store 3000000
    mkdir www
    cp a.weir www/b.weir
    local secure plain
    read -r secure plain < <(free_ports 2)
    run_nginx "$plain" <<END
server { listen 127.0.0.1:$secure ssl; ssl_certificate $tmp/server.pem; ssl_certificate_key $tmp/server.key; }
server { listen 127.0.0.1:$plain; }
END
    root=https://127.0.0.1:$secure
    export SSL_CERT_FILE=$tmp/ca.pem
    run_proxy
    # What a proxy says is no server's word; and it does not see the token.
    seconds env https_proxy="$proxy" HF_TOKEN=SECRET HF_ENDPOINT="$root" "$WEIR" fetch -q "$root/b.weir" >/dev/null
    got
    [ "$took" -lt 10000 ] || die "heeded the proxy's RateLimit"
    grep -q "CONNECT 127.0.0.1:$secure" "$proxy_log" || die "no proxy: $(cat "$proxy_log")"
    ! grep -q SECRET "$proxy_log" || die "the token went to the proxy"
    : >"$proxy_log"
    rm b.weir
    https_proxy=$proxy no_proxy=127.0.0.1 expect 0 "$WEIR" fetch "$root/b.weir"
    got
    [ ! -s "$proxy_log" ] || die "asked in spite of no_proxy"
    rm b.weir
    run_proxy 407
    https_proxy=$proxy fails 5 --retry 1
    says 'proxy|CONNECT'
    https_proxy=http://127.0.0.1:1 fails 5 --retry 1
    says 'onnect to 127.0.0.1 port 1 '
    # Over http, the whole URL goes to it.
    root=http://no-such-host.invalid
    http_proxy=http://127.0.0.1:$plain expect 0 "$WEIR" fetch "$root/b.weir"
    got
    grep -q 'GET http://no-such-host.invalid/b.weir' access.log || die "$(cat access.log)"
}
two_fetches_of_one_target() {
    make_store 12000000
    serve a.weir slow:3000000
    begin_slow
    fails 2
    says "b.weir: another 'weir fetch' is fetching it; wait for it, or end it"
    fails 2 -f
    wait "$pid" || die "$(cat slow.out)"
    got
    expect 0 "$WEIR" fetch "$root/b.weir"
    # Somebody else makes a file of that name meanwhile: it stays, and so does what was fetched.
    rm b.weir
    begin_slow
    echo mine >b.weir
    ! wait "$pid" || die "it was replaced"
    grep -q 'b.weir: somebody made it meanwhile; use -f to replace it' slow.out || die "$(cat slow.out)"
    [ "$(cat b.weir)" = mine ] || die "other bytes"
    expect 0 "$WEIR" fetch --json -f "$root/b.weir"
    grep -q '"body_bytes":[0-9]\{1,6\},' <<<"$out" || die "fetched again: $out"
    got
}
disk_full() {
    make_store 12000000
    mkdir small
    mount -t tmpfs -o size=8m tmpfs small 2>/dev/null || skip "cannot mount"
    mounts+=("$tmp/small")
    serve a.weir
    cd small
    fails 2
    says 'b.weir.weir-partial: No space left on device; free some space, then run it again'
    says 'are kept; the same command goes on from there'
    mount -o remount,size=64m "$tmp/small"
    serve "$tmp/a.weir"
    expect 0 "$WEIR" fetch "$root/b.weir"
    cmp "$tmp/a.weir" b.weir || die "other bytes"
    [ "$(logged "sum(r['sent'] for r in d)")" -lt 12000000 ] || die "nothing was kept"
    cd "$tmp"
}
read_only_target() {
    make_store 3000000
    mkdir ro
    mount -t tmpfs -o size=8m,ro tmpfs ro 2>/dev/null || skip "cannot mount"
    mounts+=("$tmp/ro")
    serve a.weir
    expect 2 "$WEIR" fetch "$root/b.weir" ro
    says 'ro/b.weir.weir-fetch: Read-only file system; choose a place you may write to'
    cp a.weir whole.weir
    chmod 444 whole.weir
    expect 0 "$WEIR" fetch -f "$root/b.weir" whole.weir # it is there: nothing to write
    got whole.weir
}
interrupted() { # ^C
    make_store 12000000
    serve a.weir slow:3000000
    begin_slow
    kill -TERM "$pid" # what a shell starts in the background does not hear of ^C
    local code=0
    wait "$pid" || code=$?
    [ "$code" = 130 ] || die "exit code $code"
    grep -q '^weir fetch: interrupted' slow.out || die "$(cat slow.out)"
    [ ! -e b.weir ] || die "half a store"
    serve a.weir
    expect 0 "$WEIR" fetch "$root/b.weir"
    got
    # ... and by the key, on a terminal.
    rm b.weir
    serve a.weir slow:3000000
    python3 - "$WEIR" "$root/b.weir" <<'END' || die "^C on a terminal"
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], [sys.argv[1], "fetch", "-x", "2", sys.argv[2]])
shown = b""
while b"fetching [" not in shown:
    shown += os.read(fd, 4096)
os.write(fd, b"\x03")
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(0 if code == 130 else f"exit code {code}: {shown}")
END
    [ ! -e b.weir ] || die "half a store"
}
progress_on_a_terminal() { # total, rate and time left; no colour; the path last, on stdout
    make_store 6000000
    serve a.weir slow:1500000
    python3 - "$WEIR" "$root/b.weir" >shown <<'END' || die "$(cat shown)"
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen([sys.argv[1], "fetch", "-x", "2", sys.argv[2]], stdout=subprocess.PIPE, stderr=slave,
                         env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"})
os.close(slave)
shown = b""
try:
    while part := os.read(master, 4096):
        shown += part
except OSError:
    pass
sys.stdout.buffer.write(shown)
out = child.stdout.read().decode()
assert child.wait() == 0 and out.splitlines()[-1] == "b.weir", out
assert "[" not in out, out
END
    got
    grep -qaE 'fetching \[[#.]+\] +[0-9]+%  [0-9.]+ MB of 6\.0[0-9]* MB  [0-9.]+ [kMG]?B/s  ETA [0-9:]+' shown || die "$(cat -v shown)"
    ! grep -qa $'\e' shown || die "colours: $(cat -v shown)"
}
no_progress_elsewhere() { # not a terminal: nothing on stderr, unless --json, whose events are on stdout
    make_store 3000000
    serve a.weir slow:1500000
    expect 0 "$WEIR" fetch "$root/b.weir"
    [ -z "$err" ] || die "$err"
    [ "$(tail -n 1 <<<"$out")" = b.weir ] || die "$out"
    rm b.weir
    expect 0 "$WEIR" fetch --json "$root/b.weir"
    [ -z "$err" ] || die "$err"
    python3 -c 'import json, sys
events = [json.loads(line) for line in sys.stdin]
assert events[0]["event"] == "progress" and events[0]["total_bytes"] > 3000000, events
assert "bytes_per_second" in events[0] and events[-1]["event"] == "done" and events[-1]["path"] == "b.weir", events' <<<"$out" ||
        die "$out"
}
exit_codes() { # 5 with the cause: the network; 3: bytes that do not verify
    make_store 3000000
    serve a.weir status:500,1000
    fails 5 --retry 1
    says '^weir fetch: http://127.0.0.1:[0-9]*/b.weir: the server has trouble \(500\) \(2 tries\)'
    fails 5 --json --retry 1
    json 'd["error"]["kind"] == "network"'
    serve a.weir flip:5000,1000
    fails 3
    says 'b.weir: extent 0: its SHA-256'
    # What is wrong on this side is said of this side; and no link is written through.
    serve a.weir
    expect 2 "$WEIR" fetch --repair "$root/b.weir" none.weir
    says '^weir fetch: none.weir: No such file'
    rm -f b.weir.weir-*
    for name in b.weir.weir-fetch b.weir.weir-partial; do
        ln -s nowhere $name
        fails 2
        says "^weir fetch: $name: .*; it is a link, and not followed; remove it"
        [ ! -e nowhere ] || die "written through a link"
        rm -f b.weir.weir-*
    done
}

"$1"
