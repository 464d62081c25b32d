#!/usr/bin/env bash
# One behaviour of `weir fetch --pack hf:...` against a mock of the Hub: hub_pack.sh BEHAVIOUR (a
# function below).
# shellcheck source=tests/fetch/hub_kit.sh
. "$(dirname "$0")/hub_kit.sh"
umask 022

# A repository in two shards, with copies of tensors, folders, and what is no tensor.
make_repo() { # make_repo MEGABYTES
    "$WEIR_GEN" repo --megabytes "$1" --shards 2
    mkdir -p repo/sub/deep repo/sub-way
    cp "$(find repo -name '*1-of*.safetensors')" repo/sub/copy.safetensors
    head -c 300000 /dev/urandom >repo/sub/other.bin
    : >repo/empty
    words 2000 >"repo/sub/deep/a b#c?%é.txt"
    words 200000 >repo/sub-way/words
    chmod -R u=rwX,go=rX repo
    "$WEIR" pack -q repo ref.weir
}
plain_bytes() { find repo -type f -print0 | xargs -0 cat | wc -c; }
sent() { logged 'sum(r["sent"] for r in d if r["status"] in (200, 206) and "/api/" not in r["path"])'; }

# same_store: name.weir is what `weir pack` makes, and nothing is left beside it.
same_store() {
    cmp ref.weir name.weir || die "another store"
    [ -z "$(find . -name '*.weir-*')" ] || die "left: $(find . -name '*.weir-*')"
}

same_as_pack() {
    make_repo 20
    serve_hub
    expect 0 "$WEIR" fetch --pack hf:org/name
    [ "$(tail -n 1 <<<"$out")" = name.weir ] || die "$out"
    grep -q "sha256:$("$WEIR" ls --json ref.weir | python3 -c 'import json,sys; print(json.load(sys.stdin)["digest"])')" <<<"$out" || die "$out"
    same_store
    # Heads come twice, and samples of long tensors; what is sampled whole comes once, and so do copies.
    local all
    all=$(plain_bytes)
    [ "$(sent)" -le $((all + all / 20)) ] || die "$(sent) bytes sent of $all"
    expect 2 "$WEIR" fetch --pack hf:org/name
    says 'name.weir: exists already; use -f'
    expect 0 "$WEIR" fetch -q --pack -f hf:org/name name.weir
    same_store
    expect 0 "$WEIR" verify name.weir
}
# Whatever lies in the folder meanwhile is smaller than the store, and there is nothing else.
no_plain_file() {
    make_repo 10
    serve_hub slow:4000000
    local pid most=0 n=0 stored
    stored=$(stat -c %s ref.weir)
    mkdir empty
    (cd empty && exec "$WEIR" fetch -q --pack -x 2 hf:org/name) &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        for file in empty/*; do
            case $file in
            empty/name.weir | empty/name.weir.weir-partial | empty/name.weir.weir-fetch | 'empty/*') ;;
            *) die "$file" ;;
            esac
        done
        n=$(du -sb empty | cut -f 1)
        [ "$n" -le "$most" ] || most=$n
        # The journal loses its name at the end, before it is closed.
        [ -z "$(find "/proc/$pid/fd" -lname '*deleted*' ! -lname '*.weir-fetch (deleted)' 2>/dev/null)" ] ||
            die "a file without a name"
    done
    wait "$pid"
    cmp ref.weir empty/name.weir || die "another store"
    [ "$most" -gt 1000000 ] || die "nothing was seen"
    [ "$most" -le $((stored + 100000)) ] || die "$most bytes on disk for a store of $stored"
}
options() {
    make_repo 10
    serve_hub
    expect 1 "$WEIR" fetch --pack "$root/a.weir"
    says '--pack is not for a store'
    expect 1 "$WEIR" fetch --pack --hf-cache hf:org/name
    HF_HUB_OFFLINE=1 expect 5 "$WEIR" fetch --pack hf:org/name
    says 'HF_HUB_OFFLINE is set'
    expect 2 "$WEIR" fetch --pack --include none hf:org/name
    says 'no file of the repository is wanted'
    expect 2 "$WEIR" fetch --pack hf:org/none
    mkdir dir part
    expect 0 "$WEIR" fetch -q --pack --include 'sub*' --exclude '*.bin' hf:org/name dir
    [ "$out" = dir/name.weir ] || die "$out"
    cp -r repo/sub repo/sub-way part
    rm part/sub/other.bin
    expect 0 "$WEIR" pack part part.weir
    cmp part.weir dir/name.weir || die "another store"
    [ "$(requests '"other.bin" in r["path"]')" = 0 ] || die "asked for"
}
json_events() {
    make_repo 10
    serve_hub slow:20000000
    expect 0 "$WEIR" fetch --pack --json -x 2 hf:org/name
    python3 -c 'import json, sys
e = [json.loads(line) for line in sys.stdin]
assert e[-1]["event"] == "done" and e[-1]["path"] == "name.weir" and not e[-1]["refetched"], e
assert e[-1]["commit"] == sys.argv[1] and e[-1]["plain_bytes"] == int(sys.argv[2]), e
assert e[-1]["stored_bytes"] == int(sys.argv[3]) and e[-1]["body_bytes"] >= int(sys.argv[2]), e
assert [x["event"] for x in e[:-1]] == ["progress"] * (len(e) - 1) and len(e) > 1, e
assert all(x["done_bytes"] <= x["total_bytes"] == int(sys.argv[2]) for x in e[:-1]), e' \
        "$(commit)" "$(plain_bytes)" "$(stat -c %s ref.weir)" <<<"$out" || die "$out"
}
places_that_refuse() {
    make_repo 20
    serve_hub
    expect 2 "$WEIR" fetch --pack hf:org/name none/name.weir
    mkdir small
    mount -t tmpfs -o size=6m tmpfs small 2>/dev/null || skip "no tmpfs for us"
    mounts+=("$tmp/small")
    expect 2 "$WEIR" fetch --pack -x 4 hf:org/name small
    says 'small/name.weir.weir-partial: No space left on device; free some space'
    says 'are kept; the same command goes on from there'
    [ ! -e small/name.weir ] || die "half a store has its name"
    mount -o remount,size=64m small
    expect 0 "$WEIR" fetch --pack --json hf:org/name small
    cmp ref.weir small/name.weir || die "another store"
    ! grep -q '"resumed_bytes":0,' <<<"$out" || die "$out"
    mount -o remount,ro small
    expect 2 "$WEIR" fetch --pack hf:org/name small/other.weir
    says 'Read-only file system; choose a place'
}
# WEIR_FETCH_KILLS: how often (default: 8).
killed() {
    make_repo "${WEIR_FETCH_MEGABYTES:-20}"
    serve_hub "slow:${WEIR_FETCH_RATE:-6000000}"
    local kills=${WEIR_FETCH_KILLS:-8} killed=0 here=0 runs=0 wholes=0 total=0 all pid code once
    local connections=4 piece=524288 seconds=${WEIR_FETCH_SECONDS:-1.5}
    all=$(plain_bytes)
    # What one run that nobody kills fetches.
    expect 0 "$WEIR" fetch -q --pack -x $connections hf:org/name
    once=$(sent)
    while [ "$killed" -lt "$kills" ]; do
        rm -f name.weir*
        : >"$log"
        here=0
        while :; do
            runs=$((runs + 1))
            "$WEIR" fetch -q --pack -x $connections hf:org/name >/dev/null 2>fetch.err &
            pid=$!
            if [ $((killed + here)) -lt "$kills" ]; then
                sleep "$(awk -v r="$RANDOM" -v s="$seconds" 'BEGIN { printf "%.3f", 0.05 + r / 32768 * s }')"
                kill -9 "$pid" 2>/dev/null || true
            fi
            code=0
            wait "$pid" 2>/dev/null || code=$?
            [ "$code" != 0 ] || break
            [ "$code" = 137 ] || die "exit code $code: $(cat fetch.err)"
            [ ! -e name.weir ] || cmp ref.weir name.weir || die "a name before its bytes"
            here=$((here + 1))
        done
        same_store
        sleep 0.3 # the server hears of connections that broke
        # An extent (4 MiB) that was begun for each connection, as the issue has it: what was ahead
        # in memory is less, and so are heads.
        [ "$(sent)" -le $((once + here * connections * 4194304 + piece)) ] ||
            die "$(sent) bytes sent of $once, killed $here times"
        total=$((total + $(sent)))
        killed=$((killed + here))
        wholes=$((wholes + 1))
    done
    [ "$killed" = 0 ] || echo "$runs runs, killed $killed times, $wholes stores of $all bytes," \
        "$once bytes fetched without a kill: $(((total - wholes * once) / killed)) bytes again per kill"
}
interrupted() {
    make_repo 20
    serve_hub slow:6000000
    local pid code=0
    "$WEIR" fetch --pack -x 4 hf:org/name >first.out 2>&1 &
    pid=$!
    until [ "$(stat -c %s name.weir.weir-partial 2>/dev/null || echo 0)" -gt 5000000 ]; do sleep 0.05; done
    kill -TERM "$pid" # a shell lets its children in the background ignore -INT
    wait "$pid" || code=$?
    [ "$code" = 130 ] || die "exit code $code: $(cat first.out)"
    grep -q 'are kept; the same command goes on from there' first.out || die "$(cat first.out)"
    [ ! -e name.weir ] || die "half a store has its name"
    serve_hub
    expect 0 "$WEIR" fetch --pack --json hf:org/name
    same_store
    ! grep -q '"resumed_bytes":0,' <<<"$out" || die "$out"
    [ "$(sent)" -lt "$(plain_bytes)" ] || die "$(sent) bytes, though some were there"
}
two_at_once() {
    make_repo 10
    serve_hub slow:2000000
    "$WEIR" fetch --pack -q -x 1 hf:org/name >/dev/null 2>&1 &
    local first=$!
    until [ -s name.weir.weir-fetch ]; do sleep 0.05; done
    expect 2 "$WEIR" fetch --pack hf:org/name
    says "name.weir: another 'weir fetch' is fetching it"
    kill "$first"
    wait "$first" || true
    serve_hub
    expect 0 "$WEIR" fetch --pack hf:org/name
    same_store
}
damaged_once() {
    make_repo 10
    serve_hub "flip:sub/copy.safetensors,1"
    expect 0 "$WEIR" fetch --pack --json hf:org/name
    expect 0 "$WEIR" verify name.weir
    expect 0 "$WEIR" unpack name.weir out
    diff -r repo out || die "other files"
}
damaged_for_ever() {
    make_repo 10
    serve_hub "flip:sub/copy.safetensors,1000"
    expect 3 "$WEIR" fetch --pack hf:org/name
    says 'sub/copy.safetensors: its SHA-256 is not what the Hub promises'
    [ ! -e name.weir ] || die "damaged, with its name"
    [ ! -s name.weir.weir-fetch ] || die "the next run would go on with it"
    ! grep -q 'are kept' <<<"$err" || die "$err"
    serve_hub
    expect 0 "$WEIR" fetch --pack hf:org/name
    same_store
}
# Found before it is packed: that file alone comes again.
small_file_damaged() {
    make_repo 10
    local path
    for path in sub/other.bin sub-way/words config.json; do
        rm -f name.weir
        serve_hub "flip:$path,1"
        expect 0 "$WEIR" fetch --pack --json hf:org/name
        same_store
        grep -q '"refetched":false' <<<"$out" || die "$out"
        [ "$(requests "'$path' in __import__('urllib.parse').parse.unquote(r['path']) and r['status'] in (200, 206)")" -le 4 ] || die "too often"
    done
    rm -f name.weir
    serve_hub "flip:sub/other.bin,1000"
    expect 3 "$WEIR" fetch --pack hf:org/name
    says 'sub/other.bin: its SHA-256 is not what the Hub promises'
    serve_hub
    expect 0 "$WEIR" fetch --pack hf:org/name
    same_store
}
# What an earlier run has left is cut, changed, or of something else.
odd_journals() {
    make_repo 10
    serve_hub slow:1500000
    local pid i size
    "$WEIR" fetch --pack -q -x 4 hf:org/name >/dev/null 2>&1 &
    pid=$!
    until [ "$(stat -c %s name.weir.weir-partial 2>/dev/null || echo 0)" -gt 3000000 ]; do sleep 0.05; done
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    cp name.weir.weir-partial partial
    cp name.weir.weir-fetch journal
    size=$(stat -c %s journal)
    serve_hub
    for i in 1 2 3 4 5 6; do
        cp partial name.weir.weir-partial
        cp journal name.weir.weir-fetch
        case $i in
        1) truncate -s $((size - 1)) name.weir.weir-fetch ;;
        2) printf x | dd of=name.weir.weir-fetch bs=1 seek=$((size / 2)) conv=notrunc status=none ;;
        3) truncate -s 2000000 name.weir.weir-partial ;;
        4) printf wrong | dd of=name.weir.weir-partial bs=1 seek=1500000 conv=notrunc status=none ;;
        5) head -c 100000 /dev/urandom >name.weir.weir-fetch ;;
        6) rm name.weir.weir-partial ;;
        esac
        expect 0 "$WEIR" fetch -q --pack hf:org/name
        same_store
        rm name.weir
    done
    # A store's fetch and a repository's share names, and each begins anew with the other's.
    cp partial name.weir.weir-partial
    cp journal name.weir.weir-fetch
    serve ref.weir
    expect 0 "$WEIR" fetch -q "$root/ref.weir" name.weir
    same_store
}
another_commit() {
    make_repo 10
    serve_hub slow:6000000
    local pid
    "$WEIR" fetch --pack -q -x 4 hf:org/name >/dev/null 2>&1 &
    pid=$!
    until [ "$(stat -c %s name.weir.weir-partial 2>/dev/null || echo 0)" -gt 5000000 ]; do sleep 0.05; done
    kill "$pid"
    wait "$pid" || true
    echo '{"newer": 1}' >repo/config.json
    expect 0 "$WEIR" pack -f repo ref.weir
    serve_hub
    expect 0 "$WEIR" fetch --pack --json hf:org/name
    same_store
    grep -q '"resumed_bytes":0,' <<<"$out" || die "$out"
}
# With 16 connections: 64 MiB.
memory() {
    [ -z "${WEIR_SANITIZE:-}" ] || skip "a sanitizer takes memory of its own"
    make_repo "${WEIR_FETCH_MEGABYTES:-60}"
    serve_hub
    expect 0 python3 -c 'import os, resource, subprocess, sys
code = subprocess.run([os.environ["WEIR"], "fetch", "-q", "--pack", "-x", "16", "hf:org/name"]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)'
    same_store
    echo "at most $(tail -n 1 <<<"$out") KiB"
    [ "$(tail -n 1 <<<"$out")" -le 65536 ] || die "$out KiB"
}

"$1"
