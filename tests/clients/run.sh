#!/usr/bin/env bash
# Programs that people use read models through the mount and from the original, and see the same.
#     tests/clients/run.sh BUILD     BUILD: folder with the built programs; needs 6 GB there, the
#                                    virtual environment included; WEIR_CLIENTS_MEGABYTES=1000
# Prints one line for each check, and exits 1 if one failed.  The seconds are for information: the
# mount is a fresh one, and the kernel was told to forget what it has of the store and the original.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: tests/clients/run.sh BUILD}" && pwd)
shared=${WEIR_SHARED:-$here/../../../shared}
venv=$(dirname "$build")/clients-venv
megabytes=${WEIR_CLIENTS_MEGABYTES:-1000}

passed=0 failed=0 skipped=0
count() { # count: what is printed on stdin, adding up its results
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
            "ok "*) passed=$((passed + 1)) ;;
            "FAILED"*) failed=$((failed + 1)) ;;
            "skipped:"*) skipped=$((skipped + 1)) ;;
        esac
    done
}
say() { count <<<"$*"; }
end() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] || exit 1
    exit 0
}

say_and_end() {
    say "$@"
    end
}
[ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || say_and_end "skipped: no /dev/fuse that we may use"
"$build/cli/weir" --version | grep -q "mount yes" || say_and_end "skipped: weir was built without libfuse3"

export WEIR=$build/cli/weir WEIR_BUILD=$build CUDA_VISIBLE_DEVICES=
cd "$build"
# shellcheck source=tests/fs/lib.sh
. "$here/../fs/lib.sh"
trap 'exit 130' INT TERM
fail() { say_and_end "FAILED: $*"; } # of the mount itself: nothing else makes sense then

original=$work/models store=$work/models.weir copy=$work/copy py=$venv/bin/python

fresh_mount() {
    [ -z "$daemon" ] || mount_down
    dd if="$store" iflag=nocache count=0 status=none
    mount_up "$store" -q
}

run() { # run NAME COMMAND...: a check that prints its own results
    local name=$1 out=$work/out err=$work/err status=0
    shift
    "$@" >"$out" 2>"$err" || status=$?
    count <"$out"
    if [ "$status" != 0 ] && ! grep -q '^FAILED' "$out"; then
        say "FAILED $name: exit code $status"
    fi
    [ "$status" = 0 ] || sed 's/^/    /' "$err" | tail -n 20
}

tool() { # tool NAME COMMAND...: a check that is a command which succeeds
    local name=$1 start=$EPOCHREALTIME
    shift
    if "$@" >"$work/out" 2>&1; then
        say "ok $name: in $(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }') s"
    else
        say "FAILED $name: $(head -n 3 "$work/out" | tr '\n' ' ')"
    fi
}

no_venv=
has_client() { # has_client WHAT MODULE...: these can be imported; else a skip that says why
    local why what=$1 IFS=,
    shift
    if [ -n "$no_venv" ]; then
        say "skipped: $what: $no_venv"
        return 1
    fi
    why=$("$py" -c "import $*" 2>&1) || {
        say "skipped: $what: $(tail -n 1 <<<"$why")"
        return 1
    }
}

make_models() {
    mkdir "$original" "$copy"
    "$build/tests/gen_checkpoint" "$original/big" --megabytes "$megabytes" --shards 4
    if [ -d "$shared/models/story" ]; then
        cp -R "$shared/models/story" "$shared/models/stories260K" "$original"
        chmod -R u+w "$original"
        # Its BF16 file becomes a model of its own, under the name that loaders look for.
        cp -R "$original/story" "$original/story-bf16"
        rm "$original/story/model-bf16.safetensors"
        mv "$original/story-bf16/model-bf16.safetensors" "$original/story-bf16/model.safetensors"
    fi
    "$WEIR" pack -q "$original" "$store"
}

check_safetensors() {
    has_client safetensors safetensors torch || return 0
    local order model
    for order in name offset random; do
        fresh_mount
        for model in "${models[@]}"; do
            run "safetensors $model" "$py" "$here/load_safetensors.py" "$model" "$original/$model" \
                "$mnt/$model" --order "$order"
        done
    done
    # numpy has no BF16.
    [ ! -d "$original/story" ] ||
        run "safetensors story np" "$py" "$here/load_safetensors.py" story "$original/story" \
            "$mnt/story" --framework np
}

check_transformers() {
    has_client transformers torch transformers || return 0
    local model more
    fresh_mount
    for model in "${models[@]}"; do
        more=()
        # In F32 both files of the story are the same model, and their golden is one.
        [ "$model" = big ] || more=(--dtype float32 --golden "$shared/README.md")
        run "transformers $model" "$py" "$here/forward.py" "$model" "$original/$model" \
            "$mnt/$model" "${more[@]}"
    done
}

# No mount: what tests/infer/ has pinned is still what these programs give.
check_text_goldens() {
    local goldens=$here/../infer
    if has_client "tokenizer goldens" tokenizers zstandard; then
        run "tokenizer goldens" env WEIR_SHARED="$shared" "$py" "$goldens/tokenizer_goldens.py" \
            "$goldens/tokenizers/golden" --check
    fi
    if has_client "chat goldens" jinja2 transformers zstandard; then
        run "chat goldens" "$py" "$goldens/chat_goldens.py" "$goldens/chat_goldens.txt" --check trl \
            "$shared"/tokenizers/*tokenizer_config.json.zst
    fi
}

check_llama() {
    has_client llama.cpp xllamacpp || return 0
    fresh_mount
    run llama.cpp "$py" "$here/run_llama.py" stories260K \
        "$original/stories260K/stories260K.gguf" "$mnt/stories260K/stories260K.gguf"
}

# No mount: each block type of GGUF comes back, with what it saves.
check_gguf_blocks() {
    has_client "GGUF's block types" gguf numpy || return 0
    [ -d "$shared/models/story" ] || return 0
    mkdir "$work/gguf"
    tool "GGUF's block types" "$py" "$here/gguf_blocks.py" "$WEIR" "$work/gguf" \
        "$shared/models/story/model.safetensors"
    sed 's/^/    /' "$work/out"
}

check_graph_goldens() { # the same
    has_client goldens torch transformers || return 0
    run goldens "$py" "$here/../infer/make_goldens.py" --check
}

loaders=()
at_once() { # at_once N COMMAND...: one more, the Nth of those that wait_for_loaders waits for
    "${@:2}" >"$work/out$1" 2>"$work/err$1" &
    loaders+=($!)
}
check_at_once() {
    has_client "4 at once" safetensors torch transformers || return 0
    local i status
    fresh_mount
    for i in 1 2; do
        at_once "$i" "$py" "$here/forward.py" "big, process $i of 4," "$original/big" "$mnt/big" --load-only
    done
    at_once 3 "$py" "$here/load_safetensors.py" "big, process 3 of 4," "$original/big" "$mnt/big"
    at_once 4 "$py" "$here/load_safetensors.py" "big, process 4 of 4," "$original/big" "$mnt/big" \
        --order random
    for i in 1 2 3 4; do
        status=0
        wait "${loaders[i - 1]}" || status=$?
        count <"$work/out$i"
        [ "$status" = 0 ] || grep -q '^FAILED' "$work/out$i" ||
            say "FAILED process $i of 4: exit code $status: $(tail -n 1 "$work/err$i")"
    done
    loaders=()
}

names_and_modes() { # but for who may write: nobody, on a mount
    find "$1" -printf '%M %P\n' | sed ':w; s/^\([^ ]*\)w/\1-/; tw' | LC_ALL=C sort
}
same_tree() { # same_tree A B: names, kinds, permissions and bytes
    diff <(names_and_modes "$1") <(names_and_modes "$2") && diff -r "$1" "$2"
}
forget_copies() {
    chmod -R u+w "$copy" # folders that nobody may write to are not emptied
    rm -rf "$copy"
    mkdir "$copy"
}
sums_match() { (cd "$mnt" && sha256sum --quiet -c "$work/sums"); }
copies() { cp -a "$mnt" "$copy/cp" && same_tree "$original" "$copy/cp"; }
archives() {
    mkdir "$copy/tar"
    tar -C "$mnt" -cf "$copy/a.tar" . && tar -C "$copy/tar" -xpf "$copy/a.tar" &&
        same_tree "$original" "$copy/tar"
}
rsync_finds_nothing() {
    local changes
    changes=$(rsync -rcni --delete "$original/" "$mnt/") || return 1
    printf '%s' "$changes"
    [ -z "$changes" ]
}
rsyncs() { rsync -a "$mnt/" "$copy/rsync" && same_tree "$original" "$copy/rsync"; }

check_tools() {
    (cd "$original" && find . -type f -exec sha256sum {} +) >"$work/sums"
    fresh_mount
    tool "sha256sum -c" sums_match
    fresh_mount
    tool "cp -a, compared" copies
    forget_copies
    if command -v rsync >/dev/null; then
        fresh_mount
        tool "rsync -rcn, nothing to do" rsync_finds_nothing
        fresh_mount
        tool "rsync -a, compared" rsyncs
        forget_copies
    else
        say "skipped: rsync: not installed"
    fi
    fresh_mount
    tool "tar, extracted and compared" archives
    forget_copies
}

# What the Hub's own tools find offline of what weir put into their cache.
hub_server=''
check_hub_cache() {
    has_client "the Hub's cache" huggingface_hub || return 0
    "$WEIR" --version | grep -q 'fetch yes' || {
        say "skipped: the Hub's cache: weir was built without libcurl"
        return 0
    }
    local model=$original/story load=(--load) ports='' snapshot commit
    if ! [ -d "$model" ] || ! "$py" -c 'import torch, transformers' 2>"$work/err"; then
        model=$original/big load=()
    fi
    mkfifo "$work/stay"
    "$py" "$here/../fetch/hub_server.py" "$model" "$work/hub-log" <"$work/stay" >"$work/ports" &
    hub_server=$!
    exec {stay}>"$work/stay" # it ends when this does
    until ports=$(head -n 1 "$work/ports") && [ -n "$ports" ]; do sleep 0.1; done
    export HF_HOME=$work/hf HF_ENDPOINT=http://127.0.0.1:${ports% *}
    tool "weir fetch --hf-cache" "$WEIR" fetch --hf-cache hf:org/name
    snapshot=$(tail -n 1 "$work/out")
    commit=${snapshot##*/}
    exec {stay}>&-
    HF_HUB_OFFLINE=1 run "the Hub's cache" "$py" "$here/hub_cache.py" org/name "$model" "$commit" "${load[@]}"
    unset HF_HOME HF_ENDPOINT
}

leave() {
    [ -z "$hub_server" ] || kill "$hub_server" 2>/dev/null || true
    [ ${#loaders[@]} = 0 ] || kill "${loaders[@]}" 2>/dev/null || true
    chmod -R u+w "$copy" 2>/dev/null || true
    cleanup
}
trap leave EXIT

status=0
bash "$here/venv.sh" "$venv" | tee "$work/venv" || status=$?
case $status in
    0) ;;
    77) no_venv=$(tail -n 1 "$work/venv") ;;
    *)
        no_venv="no virtual environment"
        say "FAILED venv: exit code $status"
        ;;
esac

check_text_goldens
check_graph_goldens
check_gguf_blocks
make_models
models=(big)
if [ -d "$original/story" ]; then
    models+=(story story-bf16)
else
    say "skipped: the real models: no ../shared"
fi
check_tools
check_safetensors
check_transformers
[ ! -d "$original/stories260K" ] || check_llama
check_at_once
check_hub_cache
mount_down
end
