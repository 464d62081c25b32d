# Shared by the lint scripts: where the sources are, and how to fail.
# shellcheck shell=bash disable=SC2034  # the scripts exit with $status
set -euo pipefail
cd "${WEIR_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"

# sources PATTERN...: tracked files that match; outside git, all files but those of builds.
sources() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -- "$@" | while IFS= read -r f; do [ ! -e "$f" ] || printf '%s\n' "$f"; done
    else
        local p
        for p in "$@"; do
            find . -path './build*' -prune -o -type f -path "./$p" -print | sed 's|^\./||'
        done | sort -u
    fi
}

skip() {
    echo "skipped: $*"
    exit 77
}

status=0
bad() { # bad WHY: what was just printed breaks the law
    echo "^ $*"
    status=1
}
