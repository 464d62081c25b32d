# lib.sh - sourced by the scripts of infer/: a folder to work in, the probe, and what must be equal.
# shellcheck shell=bash disable=SC2034  # the scripts use what is set here
set -euo pipefail

work=$(mktemp -d "$PWD/infer-XXXXXX")
trap 'rm -rf "$work"' EXIT
shared=$WEIR_SHARED/models

fail() {
    echo "FAILED: $*"
    exit 1
}
need_models() {
    [ -d "$shared/story" ] || {
        echo "skipped: no ../shared"
        exit 77
    }
}
probe() { "$INFER_PROBE" "$@"; }
ids_of() { sed -n 1p; }
hash_of() { tail -n 1; }
