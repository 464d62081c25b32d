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

# logged EXPRESSION: prints it, with d the list of requests that the last server has logged.
logged() {
    python3 -c 'import json, sys
d = [json.loads(line) for line in open(sys.argv[1])]
print(eval(sys.argv[2]))' "$log" "$1"
}

# seconds COMMAND...: how long it took, in $took.
seconds() {
    local from=${EPOCHREALTIME/./}
    "$@"
    took=$(((${EPOCHREALTIME/./} - from) / 1000)) # milliseconds
}
