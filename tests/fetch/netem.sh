#!/usr/bin/env bash
# A mount behind a line of 1 Gbit/s and 20 ms: the first tensor, reading in order, and a cut of five
# seconds.  tests/bench/fetch_netem.py with a small store and bounds for a machine that others use.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
[ -z "${WEIR_SANITIZE:-}" ] || skip "a sanitizer is slower than the line"
"$WEIR" --version | grep -q 'mount yes' || skip "built without libfuse3"
[ -w /dev/fuse ] || skip "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip "a network namespace with a slow line takes root"
PATH=$PATH:/usr/sbin
for tool in ip curl nginx; do command -v "$tool" >/dev/null || skip "no $tool"; done
code=0
python3 "$WEIR_SOURCE/tests/bench/fetch_netem.py" "$WEIR_BUILD" --megabytes 160 --repeat 4 --quick --part 0.5 \
    --slack 150 --check || code=$?
[ "$code" != 77 ] || exit 77
[ "$code" = 0 ] || die "see above"
