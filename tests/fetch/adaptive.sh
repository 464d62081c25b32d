#!/usr/bin/env bash
# A server that gives each connection so much: connections are added for as long as that pays, over
# HTTP/1.1 and HTTP/2, and no more than -x says.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
need_nginx
certificates
mkdir www tree
head -c 96000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack tree www/a.weir
read -r plain second < <(free_ports 2)
run_nginx "$second" <<END
limit_rate 4m; limit_rate_after 64k;
server { listen 127.0.0.1:$plain; }
server {
    listen 127.0.0.1:$second ssl http2; ssl_certificate $tmp/server.pem; ssl_certificate_key $tmp/server.key;
}
END
export SSL_CERT_FILE=$tmp/ca.pem
# By one connection 96 MB take 23 s, by 4 of them 6 s; by 4, 8 and 16 one after the other 3 s.
for root in "http://127.0.0.1:$plain" "https://127.0.0.1:$second"; do
    rm -f b.weir
    : >access.log
    seconds expect 0 "$WEIR" fetch --json "$root/a.weir" b.weir
    cmp www/a.weir b.weir || die "other bytes"
    echo "$root: $took ms, $(connections) connections"
    [ "$(connections)" -gt 8 ] && [ "$(connections)" -le 16 ] || die "$(connections) connections"
    [ "$took" -lt 5300 ] || [ -n "${WEIR_SANITIZE:-}" ] || die "took $took ms"
done
rm b.weir
: >access.log
expect 0 "$WEIR" fetch --json -x 6 "http://127.0.0.1:$plain/a.weir" b.weir
[ "$(connections)" -le 6 ] || die "$(connections) connections with -x 6"
