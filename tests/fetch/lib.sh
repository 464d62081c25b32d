# Shared by the tests of fetching: servers on 127.0.0.1 that end with the test.
# shellcheck shell=bash disable=SC2034
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"
command -v python3 >/dev/null || skip "no python3"
"$WEIR" --version | grep -q 'fetch yes' || skip "built without libcurl"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$tmp"
for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY HF_TOKEN; do
    unset "$name"
done

servers=()
end_servers() {
    local pid
    for pid in "${servers[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    servers=()
}
trap 'end_servers; clean_up' EXIT

# serve FILE FAULT...: a server whose root is $root and whose log is $log.
n_served=0
serve() {
    local file=$1 port n=0
    shift
    n_served=$((n_served + 1))
    log=$tmp/log.$n_served
    : >"$log"
    mkfifo "$tmp/stay.$n_served"
    python3 "$here/fault_server.py" "$file" "$log" "$@" <"$tmp/stay.$n_served" >"$tmp/port.$n_served" 2>&1 &
    servers+=($!)
    exec {stay}>"$tmp/stay.$n_served" # the server ends when the test does
    until port=$(head -n 1 "$tmp/port.$n_served" 2>/dev/null) && [[ $port =~ ^[0-9]+$ ]]; do
        n=$((n + 1))
        [ "$n" -lt 200 ] || die "no server: $(cat "$tmp/port.$n_served")"
        sleep 0.05
    done
    root=http://127.0.0.1:$port
}

# logged EXPRESSION: prints it, with d the list of requests that the last server has logged, in the
# order in which they came.
logged() {
    python3 -c 'import json, sys
d = sorted((json.loads(line) for line in open(sys.argv[1])), key=lambda r: r["n"])
print(eval(sys.argv[2]))' "$log" "$1"
}

# seconds COMMAND...: how long it took, in $took.
seconds() {
    local from=${EPOCHREALTIME/./}
    "$@"
    took=$(((${EPOCHREALTIME/./} - from) / 1000)) # milliseconds
}

# ---- nginx, on 127.0.0.1 ----

# need_nginx: or the test is skipped.
need_nginx() {
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || skip "no nginx"
    command -v openssl >/dev/null || skip "no openssl"
}

# certificate NAME OPTION...: NAME.pem and NAME.key, signed by itself or as OPTION says.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout "$1.key" \
        -out "$1.pem" "${@:2}" 2>openssl.err || die "$(cat openssl.err)"
}

# certificates: ca, an authority; server, for 127.0.0.1 by it; expired, the same of yesterday;
# stranger, whom nobody vouches for.
certificates() {
    certificate ca -subj "/CN=weir test authority"
    certificate server -CA ca.pem -CAkey ca.key -subj /CN=weir-test \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
    certificate stranger -subj /CN=weir-test -addext subjectAltName=IP:127.0.0.1
    {
        openssl req -new -key server.key -subj /CN=weir-test -out expired.csr &&
            echo subjectAltName=IP:127.0.0.1 >expired.ext &&
            openssl x509 -req -in expired.csr -CA ca.pem -CAkey ca.key -extfile expired.ext -days -1 -out expired.pem
    } 2>openssl.err || die "$(cat openssl.err)"
}

# free_ports N: prints them.
free_ports() {
    python3 -c 'import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])' "$1"
}

# run_nginx PORT: serves $tmp/www as the servers on stdin say, the last of them on PORT; a line of
# access.log: connection, request, status, bytes.
run_nginx() {
    {
        cat <<END
daemon off; master_process off; pid $tmp/nginx.pid; error_log $tmp/error.log;
events {}
http {
    log_format short '\$connection "\$request" \$status \$body_bytes_sent';
    access_log $tmp/access.log short; root $tmp/www;
    client_body_temp_path $tmp/b; proxy_temp_path $tmp/p; fastcgi_temp_path $tmp/f;
    uwsgi_temp_path $tmp/u; scgi_temp_path $tmp/s;
END
        cat
        echo "}"
    } >nginx.conf
    "$nginx" -e "$tmp/error.log" -p "$tmp" -c "$tmp/nginx.conf" >nginx.out 2>&1 &
    servers+=($!)
    local i
    for i in {1..100}; do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 0
        sleep 0.1
    done
    die "no nginx after $i looks: $(cat nginx.out)"
}

# connections: how many the requests of access.log came by.
connections() { cut -d ' ' -f 1 access.log | sort -u | wc -l; }
