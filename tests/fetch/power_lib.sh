# Shared by the tests that cut the power: what a command asks of the disk is recorded, and what the disk
# may hold after a cut is made from it, many times.
#
#   record -- COMMAND...    runs it; all it makes must be below $watched, named in full and made with
#                           open(), write(), pwrite(), rename(): see power_shim.c
#   after_cuts FUNCTION     calls FUNCTION with the name of a folder, which is what $watched may be
#                           after a cut; for each of $WEIR_POWER_CUTS states
# shellcheck shell=bash disable=SC2034,SC2154
[ -z "${WEIR_SANITIZE:-}" ] || skip "a sanitizer wants to be preloaded first"
: "${WEIR_POWER_SHIM:?power_shim.so}"
watched=$tmp/watched
mkdir "$watched"

record() {
    shift
    POWER_DIR=$watched POWER_LOG=$tmp/calls POWER_HASTE=20 LD_PRELOAD=$WEIR_POWER_SHIM "$@" ||
        die "exit code $?: $*"
}

after_cuts() {
    local state
    python3 "$here/power_cuts.py" calls "$watched" "$tmp/states" "${WEIR_POWER_CUTS:-24}" "${WEIR_POWER_SEED:-1}" ||
        die "no states"
    for state in "$tmp/states"/*; do
        "$1" "$state"
        rm -rf "$state"
    done
}
