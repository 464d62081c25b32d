#!/usr/bin/env bash
# --ram under a cap of the system's on the whole process, page cache included: no more is taken, and the
# system agrees.  WEIR_MEGABYTES: of weights (24); with 2190 it is TinyLlama's shape, in 256 MiB.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models
has_usual_memory || {
    echo "skipped: a sanitizer's memory"
    exit 77
}
megabytes=${WEIR_MEGABYTES:-24}
make_model "$megabytes"
options=(-c 64 -t 2 -u 16 -n 4 --temp 0 --ignore-eos --json -p "Once upon a time there was a little girl")

# A group of its own for one command: version 1 or 2 of the kernel's control groups, or systemd's.
group=
remove() {
    [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
    rm -rf "$work"
}
trap remove EXIT
v1=/sys/fs/cgroup/memory v2=/sys/fs/cgroup
if [ -w $v1 ] && mkdir "$v1/weir-test.$$" 2>/dev/null; then
    group=$v1/weir-test.$$
    limit=memory.limit_in_bytes
elif grep -qw memory $v2/cgroup.subtree_control 2>/dev/null && mkdir "$v2/weir-test.$$" 2>/dev/null; then
    group=$v2/weir-test.$$
    limit=memory.max
elif systemd-run --user --scope -q true 2>/dev/null; then
    limit=
else
    echo "skipped: no control group for memory can be made here"
    exit 77
fi
capped() { # capped MIB COMMAND...
    local mib=$1
    shift
    if [ -z "$group" ]; then
        systemd-run --user --scope -q -p MemoryMax="${mib}M" -p MemorySwapMax=0 "$@"
        return
    fi
    echo $((mib << 20)) >"$group/$limit"
    # shellcheck disable=SC2016  # for the inner shell
    bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' in-group "$group" "$@"
}

expect 0 "$WEIR" run "$work/model.weir" "${options[@]}"
hash=$(key 'd["logits_hash"]') most=$(key 'd["peak_rss_bytes"] >> 20')
least=$(least_of "$work/model.weir" "${options[@]}")
[ "$megabytes" -lt 2000 ] || least=256
# The cap is one: what does not ask for less is killed.
code=0
capped $((most / 2)) "$WEIR" run "$work/model.weir" "${options[@]}" >"$work/out" 2>"$work/err" || code=$?
[ "$code" -gt 128 ] || [ "$code" = 6 ] || fail "half of $most MiB would do: the cap is none, exit code $code"
for source in "$work/model.weir" "$work/model"; do
    for ram in "$least" $((least + 8)); do
        expect 0 capped "$ram" "$WEIR" run "$source" "${options[@]}" --ram "${ram}MiB"
        [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "other bits in $ram MiB: $source"
        [ "$(key "d['peak_rss_bytes'] <= $ram << 20")" = True ] || fail "$(key 'd["peak_rss_bytes"]') bytes of $ram MiB"
    done
done
echo "$most MiB without, $least MiB with --ram, $(key 'round(d["gen_tok_per_s"], 2)') tok/s, ${group:-systemd-run}"
