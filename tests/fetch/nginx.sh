#!/usr/bin/env bash
# A real server: nginx on 127.0.0.1, with http, https by an authority of this test, and HTTP/2.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
need_nginx
certificates
mkdir www tree
head -c 40000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree www/a.weir
read -r plain secure odd late second < <(free_ports 5)
tls() { echo "ssl_certificate $tmp/$1.pem; ssl_certificate_key $tmp/${2:-$1}.key;"; }
run_nginx "$second" <<END
server { listen 127.0.0.1:$plain; location /moved/ { return 302 https://127.0.0.1:$secure/a.weir; } }
server {
    listen 127.0.0.1:$secure ssl; $(tls server)
    location /down/ { return 302 http://127.0.0.1:$plain/a.weir; }
}
server { listen 127.0.0.1:$odd ssl; $(tls stranger) }
server { listen 127.0.0.1:$late ssl; $(tls expired server) }
server { listen 127.0.0.1:$second ssl http2; $(tls server) }
END

fetch_it() { # fetch_it URL
    rm -f b.weir
    expect 0 "$WEIR" fetch --json "$1" b.weir
    cmp www/a.weir b.weir || die "$1: other bytes"
}
fetch_it "http://127.0.0.1:$plain/a.weir"
[ "$(grep -c ' 206 ' access.log)" = "$(wc -l <access.log)" ] || die "$(cat access.log)"

# https: only by an authority that is trusted.
export SSL_CERT_FILE=$tmp/ca.pem
fetch_it "https://127.0.0.1:$secure/a.weir"
fetch_it "http://127.0.0.1:$plain/moved/a.weir"
expect 0 "$WEIR" verify "https://127.0.0.1:$secure/a.weir"
expect 0 "$WEIR" unpack "https://127.0.0.1:$secure/a.weir" out
same_tree tree out
# What cannot be trusted is refused, once and for all, and it says why.
seconds expect 5 "$WEIR" ls "https://127.0.0.1:$odd/a.weir"
says 'certificate cannot be trusted: .*self.signed'
[ "$took" -lt 5000 ] || die "tried for $took ms"
expect 5 "$WEIR" ls "https://127.0.0.1:$late/a.weir"
says 'certificate cannot be trusted: .*expired'
expect 5 "$WEIR" ls "https://localhost:$secure/a.weir" # not the name that it is for
says "certificate cannot be trusted: .*'localhost'"
expect 5 "$WEIR" fetch --retry 1 "https://127.0.0.1:$plain/a.weir" # no TLS there
says '\(2 tries\)'
SSL_CERT_FILE=none.pem expect 5 "$WEIR" ls "https://127.0.0.1:$secure/a.weir"
says 'none.pem'
expect 5 "$WEIR" ls "https://127.0.0.1:$secure/down/a.weir"
says 'from https to http'
unset SSL_CERT_FILE
expect 5 "$WEIR" fetch --retry 1 "https://127.0.0.1:$secure/a.weir" c.weir
says 'certificate cannot be trusted'
[ ! -e c.weir ] || die "a store from a stranger"
export SSL_CERT_FILE=$tmp/ca.pem

# HTTP/2, where libcurl has it.
: >access.log
fetch_it "https://127.0.0.1:$second/a.weir"
if curl --version 2>/dev/null | grep -q HTTP2; then
    [ "$(grep -c 'HTTP/2' access.log)" = "$(wc -l <access.log)" ] || die "no HTTP/2: $(cat access.log)"
    [ "$(connections)" -ge 4 ] || die "$(connections) connections"
    [ "$(connections)" -le 16 ] || die "$(connections) connections"
fi
# ... with pauses, and broken off in the middle.
rm -f b.weir
: >access.log
"$WEIR" fetch -q -x 4 --limit-rate 20M "https://127.0.0.1:$second/a.weir" b.weir >/dev/null 2>&1 &
pid=$!
for _ in {1..200}; do
    [ ! -s b.weir.weir-partial ] || break
    sleep 0.05
done
sleep 0.3
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" = 130 ] || die "exit code $code"
seconds expect 0 "$WEIR" fetch --limit-rate 20M "https://127.0.0.1:$second/a.weir" b.weir
cmp www/a.weir b.weir || die "other bytes"
[ "$took" -ge 1000 ] || die "40 MB at 20 MB/s in $took ms"

# A proxy, by libcurl's environment: nginx is none, so it gets what a proxy would.
http_proxy=http://127.0.0.1:$plain expect 2 "$WEIR" ls http://no-such-host.invalid/none.weir
grep -q 'GET http://no-such-host.invalid/none.weir' access.log || die "no proxy asked: $(tail -1 access.log)"

# Memory, over TLS and HTTP/2.
if [ -z "${WEIR_SANITIZE:-}" ]; then
    for port in $secure $second; do
        rm -f b.weir
        expect 0 python3 -c 'import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)' "$WEIR" fetch -q -x 16 "https://127.0.0.1:$port/a.weir" b.weir
        echo "peak: $(tail -n 1 <<<"$out") KiB"
        [ "$(tail -n 1 <<<"$out")" -le 65536 ] || die "$out KiB"
    done
fi

# The file changes while it is fetched.
rm -f b.weir
echo different >tree/words
expect 0 "$WEIR" pack tree other.weir
"$WEIR" fetch -x 2 --limit-rate 8M "http://127.0.0.1:$plain/a.weir" b.weir >changed.out 2>&1 &
pid=$!
for _ in {1..200}; do
    [ ! -s b.weir.weir-partial ] || break
    sleep 0.05
done
mv other.weir www/a.weir
code=0
wait "$pid" || code=$?
[ "$code" = 2 ] || die "exit code $code: $(cat changed.out)"
grep -q 'changed on the server' changed.out || die "$(cat changed.out)"
fetch_it "http://127.0.0.1:$plain/a.weir"

# What README.md tells to write: a server for this very file.
if [ -f "${WEIR_SOURCE:-}/README.md" ]; then
    end_servers
    read -r second < <(free_ports 1)
    sed -n '/^    server {$/,/^    }$/p' "$WEIR_SOURCE/README.md" |
        sed "s#listen 443#listen 127.0.0.1:$second#; s#/etc/ssl/models.pem#$tmp/server.pem#; s#/etc/ssl/models.key#$tmp/server.key#
            s#/srv/models;#$tmp/www;#" >readme.conf
    [ -s readme.conf ] || die "no server in README.md"
    run_nginx "$second" <readme.conf
    fetch_it "https://127.0.0.1:$second/a.weir"
fi
