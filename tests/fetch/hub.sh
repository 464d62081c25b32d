#!/usr/bin/env bash
# One behaviour of `weir fetch hf:...` against a mock of the Hub: hub.sh BEHAVIOUR (a function below).
# shellcheck source=tests/fetch/hub_kit.sh
. "$(dirname "$0")/hub_kit.sh"

part=8388608 # bytes of one, fetch/parts.h

# A repository: two LFS files, one of them of three parts, and small ones.
mkdir -p repo/sub/deep
head -c $((2 * part + 1000000)) /dev/urandom >repo/model.safetensors
head -c 300000 /dev/urandom >repo/sub/other.bin
echo '{"model_type": "none"}' >repo/config.json
: >repo/empty
words 2000 >"repo/sub/deep/a b#c?%é.txt"
n_files=5

same() { # same DIR: it is the repository, and nothing is left beside it
    diff -r repo "$1" || die "other files in $1"
}

whole_repository() {
    serve_hub
    expect 0 "$WEIR" fetch hf:org/name
    [ "$(tail -n 1 <<<"$out")" = name ] || die "$out"
    same name
    [ "$(stat -c %a name/config.json)" = "$(printf '%o' $((0666 & ~$(umask))))" ] || die "mode"
    expect 0 "$WEIR" fetch -q hf://models/org/name@v1 some/where
    [ "$out" = some/where ] || die "$out"
    same some/where
    expect 0 "$WEIR" fetch -q hf:datasets/org/name@refs/pr/1 data/
    same data
    [ "$(requests '"/api/datasets/org/name/revision/refs%2Fpr%2F1" == r["path"]')" = 1 ] || die "revision"
    # Every URL of a file is the commit's, and no byte came twice.
    [ "$(requests '"/resolve/" in r["path"] and "/'"$(commit)"'/" not in r["path"]')" = 0 ] || die "not pinned"
    [ "$(logged 'sum(r["sent"] for r in d if r["status"] == 206)')" = $((3 * $(cat repo/*.* repo/sub/*.bin repo/sub/deep/* | wc -c))) ] ||
        die "bytes twice"
}
json_events() {
    serve_hub slow:20000000
    expect 0 "$WEIR" fetch --json -x 1 hf:org/name
    python3 -c 'import json, sys
e = [json.loads(line) for line in sys.stdin]
assert e[-1]["event"] == "done" and e[-1]["path"] == "name" and e[-1]["files"] == int(sys.argv[1]), e
assert e[-1]["commit"] == sys.argv[2] and e[-1]["total_bytes"] == int(sys.argv[3]), e
assert [x["event"] for x in e[:-1]] == ["progress"] * (len(e) - 1) and len(e) > 1, e
assert all(x["done_bytes"] <= x["total_bytes"] == int(sys.argv[3]) for x in e[:-1]), e' \
        $n_files "$(commit)" "$(cat repo/*.* repo/sub/*.bin repo/sub/deep/* | wc -c)" <<<"$out" || die "$out"
}
token_goes_to_the_hub_only() {
    serve_hub
    HF_TOKEN=" hf_secret
" expect 0 "$WEIR" fetch hf:org/name a
    same a
    [ "$(requests 'r["server"] == "hub" and r["headers"].get("authorization") != "Bearer hf_secret"')" = 0 ] ||
        die "the Hub lacks the token"
    [ "$(requests 'r["server"] == "store"')" -ge 4 ] || die "no redirects"
    [ "$(requests 'r["server"] == "store" and "hf_secret" in str(r)')" = 0 ] || die "the token went elsewhere"
    # From files, and not at all.
    mkdir -p home other
    echo hf_of_home >home/token
    echo hf_of_path >other/token
    expect 0 "$WEIR" fetch hf:org/name b
    [ "$(requests '"Bearer hf_of_home" in str(r)')" -ge 3 ] || die "not from HF_HOME"
    HF_TOKEN_PATH=other/token expect 0 "$WEIR" fetch hf:org/name c
    [ "$(requests '"Bearer hf_of_path" in str(r)')" -ge 3 ] || die "not from HF_TOKEN_PATH"
    : >"$log"
    HF_TOKEN=hf_x HF_HUB_DISABLE_IMPLICIT_TOKEN=1 expect 0 "$WEIR" fetch hf:org/name d
    [ "$(requests '"Bearer" in str(r)')" = 0 ] || die "a token although there should be none"
}
expired_url() {
    serve_hub uses:1
    expect 0 "$WEIR" fetch -x 1 hf:org/name
    same name
    [ "$(requests 'r["status"] == 403')" -ge 1 ] || die "none expired"
    serve_hub uses:0
    expect 5 "$WEIR" fetch hf:org/name again
    says 'signed URL is refused \(403\)'
    ! grep -q secret <<<"$err" || die "the signature is shown"
}
gated() {
    serve_hub gated:hf_member
    expect 5 "$WEIR" fetch hf:org/name
    says "^weir fetch: $root/org/name: .*gated \(403\); accept its terms on its page, then set HF_TOKEN"
    HF_TOKEN=hf_stranger expect 5 "$WEIR" fetch hf:org/name
    HF_TOKEN=hf_member expect 0 "$WEIR" fetch hf:org/name
    same name
}
private() {
    serve_hub private:hf_member
    expect 2 "$WEIR" fetch hf:org/name
    says 'no such repository, or a private one \(401\); check the name, or set HF_TOKEN'
    HF_TOKEN=hf_member expect 0 "$WEIR" fetch hf:org/name
    same name
}
missing() {
    serve_hub
    expect 2 "$WEIR" fetch hf:org/other
    says 'no such repository'
    expect 2 "$WEIR" fetch hf:org/name@none
    says 'no such revision \(404\); check what stands behind the @'
    expect 2 "$WEIR" fetch hf:org/name --include '*.gguf'
    says 'no file of the repository is wanted'
    expect 2 "$WEIR" ls hf:org/name/none.weir
    says 'no such file at this revision'
    [ ! -e name ] || die "a folder for nothing"
}
patience() {
    serve_hub patience:4
    seconds expect 0 "$WEIR" fetch hf:org/name
    same name
    [ "$took" -ge 2000 ] || die "$took ms"
    [ "$(requests 'r["status"] == 429')" = 4 ] || die "$(requests 'r["status"] == 429')"
}
damaged_once() {
    local path
    for path in model.safetensors config.json; do
        rm -rf name
        serve_hub "flip:$path,1"
        expect 0 "$WEIR" fetch --json hf:org/name
        same name
        grep -q '"refetched_files":1' <<<"$out" || die "$out"
    done
}
damaged_for_ever() {
    serve_hub flip:model.safetensors,1000
    expect 3 "$WEIR" fetch hf:org/name
    says 'name/model.safetensors: its SHA-256 is not what the Hub promises, twice over'
    [ -z "$(find name -name 'model*')" ] || die "$(find name -name 'model*')"
    cmp name/config.json repo/config.json || die "the others are gone"
    rm -rf name
    serve_hub flip:config.json,1000
    expect 3 "$WEIR" fetch hf:org/name
    says 'name/config.json: its git SHA-1 is not what the Hub promises'
    [ ! -e name/config.json ] || die "damaged, with its name"
    serve_hub
    expect 0 "$WEIR" fetch hf:org/name
    same name
}
include_and_exclude() {
    serve_hub
    listed() { (cd "$1" && find . -type f | LC_ALL=C sort | tr '\n' ' '); }
    expect 0 "$WEIR" fetch --include '*.json' --include 'sub/' hf:org/name a
    [ "$(listed a)" = "./config.json ./sub/deep/a b#c?%é.txt ./sub/other.bin " ] || die "$(listed a)"
    expect 0 "$WEIR" fetch --include 'sub/*' --exclude 'sub/d*' hf:org/name b
    [ "$(listed b)" = "./sub/other.bin " ] || die "$(listed b)"
    expect 0 "$WEIR" fetch --exclude '*.safetensors' --exclude 'SUB/' --exclude '[!a-z]*' hf:org/name c
    [ "$(listed c)" = "./config.json ./empty ./sub/deep/a b#c?%é.txt ./sub/other.bin " ] || die "$(listed c)"
    [ "$(requests '"safetensors" in r["path"]')" = 0 ] || die "asked for"
}
foreign_page() {
    serve_hub foreign
    HF_TOKEN=hf_secret expect 5 "$WEIR" fetch hf:org/name
    says 'goes on at another server, http://127.0.0.1:[0-9]+/api'
    [ "$(requests 'r["server"] == "store"')" = 0 ] || die "it was followed"
    serve_hub circle
    expect 5 "$WEIR" fetch hf:org/name
    says 'goes round in a circle'
}
paths_that_lead_elsewhere() {
    local path
    for path in ../evil /tmp/evil sub/../../evil config.json/evil ''; do
        serve_hub "path:$path"
        expect 3 "$WEIR" fetch hf:org/name
        says "the Hub's listing"
        [ ! -e evil ] && [ ! -e name ] || die "something was made"
    done
    serve_hub path:config.json.weir-fetch
    expect 4 "$WEIR" fetch hf:org/name
    says 'leave it out with --exclude'
    expect 0 "$WEIR" fetch --exclude '*.weir-fetch' hf:org/name
    same name
}
changed_file() {
    serve_hub etag:model.safetensors
    expect 2 "$WEIR" fetch hf:org/name
    says 'model.safetensors: the file changed on the server: its X-Linked-Etag is another'
}
not_the_hub() {
    local answer how
    for answer in '{"sha":"main"}' '[]' '<html>' '{"sha":' ''; do
        serve_hub "answer:$answer"
        expect 5 "$WEIR" fetch hf:org/name
        says "does not tell which commit|the server's answer is not the Hub's"
    done
    HF_ENDPOINT=ftp://127.0.0.1 expect 1 "$WEIR" fetch hf:org/name
    says 'check HF_ENDPOINT'
    # What an endpoint hides is not told.
    for answer in http://user:SECRET@127.0.0.1:1 'http://127.0.0.1:1/?key=SECRET'; do
        for how in hf:org/name '--pack hf:org/name' hf:org/name/a.weir; do
            # shellcheck disable=SC2086
            HF_ENDPOINT=$answer "$WEIR" fetch --retry 1 $how >shown 2>&1 && die "fetched from nobody"
            ! grep -q SECRET shown || die "$how: $(cat shown)"
        done
    done
}
files_that_are_there() {
    serve_hub
    expect 0 "$WEIR" fetch hf:org/name
    : >"$log"
    expect 0 "$WEIR" fetch --json hf:org/name
    [ "$(requests '"/resolve/" in r["path"]')" = 0 ] || die "fetched again"
    grep -q "\"present_bytes\":$(cat repo/*.* repo/sub/*.bin repo/sub/deep/* | wc -c)," <<<"$out" || die "$out"
    # Another size is told of at once, other bytes when they have been read.
    echo longer >>name/config.json
    expect 2 "$WEIR" fetch hf:org/name
    says 'name/config.json: exists already with other bytes; use -f'
    echo '{"model_type": "evil"}' >name/config.json
    expect 2 "$WEIR" fetch hf:org/name
    says 'name/config.json: exists already with other bytes; use -f'
    grep -q evil name/config.json || die "replaced without -f"
    expect 0 "$WEIR" fetch -f hf:org/name
    same name
    rm name/config.json
    ln -s nowhere name/config.json
    expect 2 "$WEIR" fetch hf:org/name
    says 'name/config.json: exists already with other bytes; use -f'
    expect 0 "$WEIR" fetch -f hf:org/name
    same name
    mv name/config.json real
    ln -s ../real name/config.json # a link to the very file will do
    expect 0 "$WEIR" fetch hf:org/name
    [ -L name/config.json ] || die "the link is gone"
    rm name/config.json
    mkdir name/config.json
    expect 2 "$WEIR" fetch -f hf:org/name
    says 'exists already, a directory'
}
# WEIR_FETCH_KILLS: how often.
killed() {
    local kills=${WEIR_FETCH_KILLS:-6} killed=0 runs=0 total=0 interrupted code pid twice
    serve_hub slow:12000000
    while [ "$killed" -lt "$kills" ]; do
        rm -rf name
        : >"$log"
        interrupted=0
        while :; do
            runs=$((runs + 1))
            "$WEIR" fetch -q -x 2 hf:org/name >/dev/null 2>fetch.err &
            pid=$!
            if [ $((killed + interrupted)) -lt "$kills" ]; then
                # A point in time from nothing to all of a run.
                sleep "$(awk -v r="$RANDOM" 'BEGIN { printf "%.3f", 0.05 + r / 32768 * 1.1 }')"
                kill -9 "$pid" 2>/dev/null || true
            fi
            code=0
            wait "$pid" 2>/dev/null || code=$?
            [ "$code" != 0 ] || break
            [ "$code" = 137 ] || die "exit code $code: $(cat fetch.err)"
            [ ! -e name/model.safetensors ] || cmp repo/model.safetensors name/model.safetensors ||
                die "a name before its bytes"
            interrupted=$((interrupted + 1))
        done
        same name
        sleep 0.3 # the server writes down what it was sending when we were killed
        # Whole parts that came again: what was on its way, one for each connection.
        twice=$(logged 'sum(n - 1 for n in __import__("collections").Counter(
            (r["path"].split("path=")[-1], r["range"]) for r in d if r["status"] == 206 and
            r["sent"] == int(r["range"].split("-")[1]) + 1 - int(r["range"][6:].split("-")[0])).values())')
        [ "$twice" -le $((2 * interrupted)) ] || die "$twice parts came twice, killed $interrupted times"
        killed=$((killed + interrupted))
        total=$((total + twice))
    done
    echo "$runs runs, killed $killed times, $total parts twice"
}
two_at_once() {
    serve_hub slow:8000000
    "$WEIR" fetch -x 1 hf:org/name >first.out 2>&1 &
    local first=$! code=0
    for _ in {1..200}; do
        [ ! -s name/model.safetensors.weir-partial ] || break
        sleep 0.05
    done
    expect 2 "$WEIR" fetch hf:org/name
    says "^weir fetch: name: another 'weir fetch' is fetching into it"
    until [ "$(requests 'r["sent"] > 8000000')" -ge 1 ]; do sleep 0.05; done
    kill -TERM "$first"
    wait "$first" || code=$?
    [ "$code" = 130 ] || die "interrupted: $code"
    grep -q 'the same command goes on from there' first.out || die "$(cat first.out)"
    serve_hub
    expect 0 "$WEIR" fetch --json hf:org/name
    same name
    ! grep -q '"resumed_bytes":0,' <<<"$out" || die "$out"
}
new_commit() {
    serve_hub
    expect 0 "$WEIR" fetch hf:org/name
    echo '{"model_type": "newer"}' >repo/config.json
    kill -HUP "$hub"
    until [ "$("$WEIR" fetch -q --json --include empty hf:org/name x | sed -n 's/.*commit":"\([0-9a-f]*\).*/\1/p')" != "$(commit)" ]; do sleep 0.05; done
    expect 2 "$WEIR" fetch hf:org/name
    expect 0 "$WEIR" fetch -f hf:org/name
    same name
}
hf_cache() {
    serve_hub
    expect 0 "$WEIR" fetch --hf-cache hf:org/name@v1
    local at=$HF_HOME/hub/models--org--name c
    c=$(commit)
    [ "$(tail -n 1 <<<"$out")" = "$at/snapshots/$c" ] || die "$out"
    diff -r repo "$at/snapshots/$c" || die "other files"
    [ "$(cat "$at/refs/v1")" = "$c" ] || die "refs/v1"
    [ "$(readlink "$at/snapshots/$c/model.safetensors")" = "../../blobs/$(sha256sum <repo/model.safetensors | cut -c 1-64)" ] ||
        die "$(readlink "$at/snapshots/$c/model.safetensors")"
    [ "$(readlink "$at/snapshots/$c/sub/deep/a b#c?%é.txt")" = "../../../../blobs/$(git hash-object 'repo/sub/deep/a b#c?%é.txt' ||
        python3 -c 'import hashlib,sys; d=open(sys.argv[1],"rb").read(); print(hashlib.sha1(b"blob %d\0" % len(d) + d).hexdigest())' 'repo/sub/deep/a b#c?%é.txt')" ] ||
        die "the link of a small file"
    grep -q 'Signature: 8a477f597d28d172789f06886806bc55' "$HF_HOME/hub/CACHEDIR.TAG" || die "no tag"
    [ -z "$(find "$HF_HOME" -name '*.weir*')" ] || die "left: $(find "$HF_HOME" -name '*.weir*')"
    # Again: nothing is fetched.  A wrong blob is found and replaced.
    : >"$log"
    expect 0 "$WEIR" fetch --hf-cache hf:org/name
    [ "$(requests '"/resolve/" in r["path"]')" = 0 ] || die "fetched again"
    [ "$(cat "$at/refs/main")" = "$c" ] || die "refs/main"
    printf x | dd of="$at/snapshots/$c/model.safetensors" conv=notrunc status=none
    expect 0 "$WEIR" fetch --hf-cache hf:org/name
    diff -r repo "$at/snapshots/$c" || die "other files"
    expect 1 "$WEIR" fetch --hf-cache hf:org/name dir
    says 'takes no DIR'
    # Another program is at it, as the Python client would be.
    rm "$at/blobs/$(sha256sum <repo/model.safetensors | cut -c 1-64)"
    exec {held}>"$HF_HOME/hub/.locks/models--org--name/$(sha256sum <repo/model.safetensors | cut -c 1-64).lock"
    flock "$held"
    expect 2 "$WEIR" fetch --hf-cache hf:org/name
    says 'another program is fetching it'
    exec {held}>&-
    # Equal files share a blob.
    cp repo/model.safetensors repo/copy.safetensors
    kill -HUP "$hub"
    until "$WEIR" fetch -q --hf-cache hf:org/name >/dev/null && [ -e "$(readlink -f "$at/snapshots/$(cat "$at/refs/main")/copy.safetensors")" ]; do sleep 0.05; done
    diff -r repo "$at/snapshots/$(cat "$at/refs/main")" || die "other files"
}
hf_cache_resumed() {
    serve_hub slow:8000000
    export HF_HUB_CACHE=$tmp/cache/
    "$WEIR" fetch -q --hf-cache -x 1 hf:org/name >/dev/null 2>fetch.err &
    local pid=$!
    until [ "$(requests 'r["status"] == 206 and r["sent"] > 8000000')" -ge 1 ]; do sleep 0.05; done
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    [ -z "$(find cache -type l)" ] && [ ! -e cache/models--org--name/refs/main ] || die "half a snapshot is shown"
    expect 0 "$WEIR" fetch --json --hf-cache hf:org/name
    diff -r repo "cache/models--org--name/snapshots/$(commit)" || die "other files"
    ! grep -q '"resumed_bytes":0,' <<<"$out" || die "$out"
}
offline() {
    serve_hub
    export HF_HUB_OFFLINE=1
    expect 5 "$WEIR" fetch hf:org/name
    says 'HF_HUB_OFFLINE is set'
    expect 5 "$WEIR" fetch --hf-cache hf:org/name
    says 'the cache has nothing of this revision: .*, and HF_HUB_OFFLINE is set'
    expect 5 "$WEIR" ls hf:org/name/a.weir
    says 'HF_HUB_OFFLINE is set'
    [ ! -s "$log" ] || die "asked all the same"
    HF_HUB_OFFLINE=0 expect 0 "$WEIR" fetch --hf-cache hf:org/name
    local shown=$out c
    c=$(commit)
    expect 0 "$WEIR" fetch --hf-cache hf:org/name
    [ "$out" = "$(tail -n 1 <<<"$shown")" ] || die "$out"
    expect 0 "$WEIR" fetch --hf-cache "hf:org/name@$c"
    expect 5 "$WEIR" fetch --hf-cache hf:org/name@v1
    rm "$(readlink -f "$(tail -n 1 <<<"$shown")/config.json")"
    expect 5 "$WEIR" fetch --hf-cache hf:org/name
    says 'the cache has not all of it'
}
store_in_a_repository() {
    mkdir tree
    cp repo/sub/other.bin tree
    expect 0 "$WEIR" pack tree repo/model.weir
    expect 0 "$WEIR" pack tree repo/sub/model.weir
    serve_hub gated:hf_member
    export HF_TOKEN=hf_member
    expect 0 "$WEIR" fetch hf:org/name/model.weir
    [ "$(tail -n 1 <<<"$out")" = model.weir ] || die "$out"
    cmp repo/model.weir model.weir || die "other bytes"
    expect 0 "$WEIR" fetch hf:org/name@v1/sub/model.weir b.weir
    cmp repo/model.weir b.weir || die "other bytes"
    expect 0 "$WEIR" ls hf:org/name/model.weir
    grep -q other.bin <<<"$out" || die "$out"
    expect 0 "$WEIR" verify hf:org/name/model.weir
    expect 0 "$WEIR" unpack hf:org/name/model.weir out
    diff -r tree out || die "other files"
    unset HF_TOKEN
    expect 5 "$WEIR" ls hf:org/name/model.weir
    says '^weir ls: hf:org/name/model.weir: .*gated'
    expect 1 "$WEIR" fetch hf:org/name/config.json
    says 'use --include'
    expect 1 "$WEIR" ls hf:org/name
    says 'a store is written hf:ORG/NAME/PATH.weir'
    expect 1 "$WEIR" fetch --include x hf:org/name/model.weir
    says '--include is not for a store'
    expect 1 "$WEIR" fetch --seed x hf:org/name
    says '--seed is not for a repository'
    expect 1 "$WEIR" fetch hf:org/
    expect 1 "$WEIR" fetch hf:org/../name
    says 'it is written hf:ORG/NAME'
}
places_that_refuse() {
    serve_hub
    echo file >name
    expect 2 "$WEIR" fetch hf:org/name
    says 'name: '
    mkdir small
    mount -t tmpfs -o size=9m tmpfs small 2>/dev/null || skip "no tmpfs for us"
    mounts+=("$tmp/small")
    expect 2 "$WEIR" fetch -x 1 hf:org/name small/name
    says 'small/name/model.safetensors.weir-partial: No space left on device; free some space'
    says 'are kept; the same command goes on from there'
    mount -o remount,size=64m small
    expect 0 "$WEIR" fetch hf:org/name small/name
    same small/name
    mount -o remount,ro small
    expect 2 "$WEIR" fetch hf:org/name small/other
    says 'Read-only file system; choose a place'
}
server_comes_back() {
    serve_hub gone:gone
    : >gone
    expect 5 "$WEIR" fetch --retry 2 hf:org/name
    says "^weir fetch: $root/org/name: .*\(3 tries\); try again later"
    (sleep 1 && rm gone) &
    expect 0 "$WEIR" fetch hf:org/name
    same name
}

"$1"
