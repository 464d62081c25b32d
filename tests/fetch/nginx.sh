#!/usr/bin/env bash
# A real server: nginx on 127.0.0.1, with http, https by an authority of this test, and HTTP/2.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || skip "no nginx"
command -v openssl >/dev/null || skip "no openssl"

# An authority, a certificate of 127.0.0.1 by it, and one that nobody vouches for.
certificate() { # certificate NAME OPTION...
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout "$1.key" -out "$1.pem" "${@:2}" 2>openssl.err ||
        die "$(cat openssl.err)"
}
certificate ca -subj "/CN=weir test authority"
certificate server -CA ca.pem -CAkey ca.key -subj /CN=weir-test -addext subjectAltName=IP:127.0.0.1 \
    -addext basicConstraints=critical,CA:FALSE
certificate stranger -subj /CN=weir-test -addext subjectAltName=IP:127.0.0.1

mkdir www tree
head -c 40000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree www/a.weir
free_ports() {
    python3 -c 'import socket
s = [socket.socket() for _ in range(4)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])'
}
read -r plain secure odd second < <(free_ports)
cat >nginx.conf <<END
daemon off; master_process off; pid $tmp/nginx.pid; error_log $tmp/error.log;
events {}
http {
    access_log $tmp/access.log; root $tmp/www;
    client_body_temp_path $tmp/b; proxy_temp_path $tmp/p; fastcgi_temp_path $tmp/f;
    uwsgi_temp_path $tmp/u; scgi_temp_path $tmp/s;
    server { listen 127.0.0.1:$plain; location /moved/ { return 302 https://127.0.0.1:$secure/a.weir; } }
    server {
        listen 127.0.0.1:$secure ssl; ssl_certificate $tmp/server.pem; ssl_certificate_key $tmp/server.key;
        location /down/ { return 302 http://127.0.0.1:$plain/a.weir; }
    }
    server { listen 127.0.0.1:$odd ssl; ssl_certificate $tmp/stranger.pem; ssl_certificate_key $tmp/stranger.key; }
    server { listen 127.0.0.1:$second ssl http2; ssl_certificate $tmp/server.pem; ssl_certificate_key $tmp/server.key; }
}
END
"$nginx" -e "$tmp/error.log" -p "$tmp" -c "$tmp/nginx.conf" >nginx.out 2>&1 &
servers+=($!)
for _ in {1..100}; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$second") 2>/dev/null || break
    sleep 0.1
done

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
expect 5 "$WEIR" ls "https://127.0.0.1:$odd/a.weir"
says 'certificate cannot be trusted'
expect 5 "$WEIR" ls "https://localhost:$secure/a.weir" # not the name that it is for
says 'certificate cannot be trusted'
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
echo "$(grep -c 'HTTP/2' access.log) of $(wc -l <access.log) requests by HTTP/2"
if curl --version 2>/dev/null | grep -q HTTP2; then
    grep -q 'HTTP/2' access.log || die "no HTTP/2"
fi

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
