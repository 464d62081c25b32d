#!/usr/bin/env bash
# A storm: 16 threads read in every way there is at random places, while the page cache is emptied
# again and again.  No byte differs from the plain files, and the daemon stays within its ceiling.
# WEIR_STORM is how many accesses there are in all.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

ceiling_kib=$((128 << 10))
accesses=1000000 megabytes=150 # more than the daemon may ever have
case ${WEIR_SANITIZE:-} in
thread) accesses=20000 megabytes=16 ;;
?*) accesses=200000 megabytes=16 ;;
esac
accesses=${WEIR_STORM:-$accesses}

tree=$work/tree
mkdir "$tree"
if [ -n "${WEIR_GEN:-}" ]; then
    "$WEIR_GEN" "$tree/model" --megabytes "$megabytes" --shards 2
else
    head -c "${megabytes}000000" /dev/urandom >"$tree/noise"
fi
for bytes in 0 1 4095 4096 4097 131071 131072 131073 3000001; do
    head -c "$bytes" /dev/urandom >"$tree/noise.$bytes"
done
head -c 1000003 /dev/zero >"$tree/zeros"
for file in stories260K/stories260K.gguf story/model-bf16.safetensors edge/opt-lora-bf16.safetensors; do
    [ ! -e "$WEIR_SHARED/models/$file" ] || cp "$WEIR_SHARED/models/$file" "$tree"
done
chmod -R u+w "$tree"
big=$(cd "$tree" && find . -type f -printf '%s %P\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
"$WEIR" pack -q "$tree" "$work/t.weir"

evict() { # all of the mount's pages, often; now and then what else the kernel keeps, too
    local n=0
    until [ -e "$work/over" ]; do
        n=$((n + 1))
        if [ $((n % 4)) = 0 ]; then forget all; else forget; fi
        echo "$n" >"$work/evictions"
        sleep 0.05
    done
}

too_big() { # is the daemon?  ($rss_kib: how big it is)
    rss_kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon/status")
    [ "${rss_kib:-0}" -gt "$ceiling_kib" ]
}

watch_size() {
    until [ -e "$work/over" ]; do
        ! too_big || echo "$rss_kib KiB" >>"$work/too-big"
        sleep 0.1
    done
}

storm() { # storm PERCENT FILE [OPTION...]: of all accesses, with a mount of its own
    local said peak
    mount_up "$work/t.weir" "${@:3}"
    echo 0 >"$work/evictions"
    evict 2>/dev/null &
    helpers=($!)
    watch_size 2>/dev/null &
    helpers+=($!)
    said=$("$probe" storm --ops $((accesses * $1 / 100)) --threads 16 --seed "$1" --seconds 300 \
        "$tree/$2" "$mnt/$2") || fail "$2 with '${*:3}': $said"
    : >"$work/over"
    wait "${helpers[@]}"
    helpers=()
    rm "$work/over"
    peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon/status")
    echo "${*:3} $said; $(cat "$work/evictions") evictions, daemon $peak KiB"
    sanitized || [ ! -e "$work/too-big" ] || fail "over $ceiling_kib KiB: $(sort -n "$work/too-big" | tail -n 1)"
    sanitized || [ "$peak" -le "$ceiling_kib" ] || fail "the daemon had $peak KiB"
    sanitized || [ "$(cat "$work/evictions")" -ge 2 ] || fail "nothing was evicted"
    mount_down
    [ ! -s "$log" ] || fail "there was something to say"
}

storm 45 .
storm 15 "$big"
storm 25 . --cache 1Mi
storm 15 . -j 2
