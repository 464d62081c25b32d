# Shared by the tests that fetch from a mock of the Hub, whose repository is the folder repo.
# shellcheck shell=bash disable=SC2034
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export HF_HOME=$tmp/home HF_HUB_DISABLE_PROGRESS_BARS=
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HUB_OFFLINE HF_TOKEN_PATH HF_HUB_DISABLE_IMPLICIT_TOKEN \
    XDG_CACHE_HOME

# serve_hub FAULT...: the mock, at $HF_ENDPOINT; its log is $log, its root for messages $root.
serve_hub() {
    local ports n=0
    n_served=$((n_served + 1))
    log=$tmp/log.$n_served
    : >"$log"
    mkfifo "$tmp/stay.$n_served"
    python3 "$here/hub_server.py" repo "$log" "$@" <"$tmp/stay.$n_served" >"$tmp/port.$n_served" 2>&1 &
    hub=$!
    servers+=($!)
    exec {stay}>"$tmp/stay.$n_served" # the server ends when the test does
    until ports=$(head -n 1 "$tmp/port.$n_served" 2>/dev/null) && [[ $ports =~ ^[0-9]+\ [0-9]+$ ]]; do
        n=$((n + 1))
        [ "$n" -lt 200 ] || die "no server: $(cat "$tmp/port.$n_served")"
        sleep 0.05
    done
    root=http://127.0.0.1:${ports% *}
    export HF_ENDPOINT=$root/
}
# commit: which one the last server has told.
commit() { logged '[r["path"].split("/")[6].split("?")[0] for r in d if "/tree/" in r["path"]][0]'; }
requests() { logged "len([r for r in d if $1])"; }
