#!/usr/bin/env bash
# Makes, or finds as it was left, a virtual environment with the programs of requirements.txt.
#     tests/clients/venv.sh VENV
# Exits 77, saying why, where none of them can be had; one that cannot is named and left out.
set -euo pipefail

venv=${1:?usage: tests/clients/venv.sh VENV}
here=$(cd "$(dirname "$0")" && pwd)
wanted=$here/requirements.txt
stamp=$venv/made-of
say() { echo "venv: $*"; }
skip() {
    echo "$*"
    exit 77
}

made_of=$({ python3 --version && cat "$wanted" "$here/cuda_stand_ins.py" "$0"; } | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" != "$made_of" ] || exit 0

say "made anew, some 620 MB from PyPI: $venv"
rm -rf "$venv"
python3 -m venv "$venv" || skip "python3 makes no virtual environment"
install() { # install ARGUMENT...
    "$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps "$@"
}
mapfile -t packages < <(sed -n '/^[a-z]/p' "$wanted")
install --retries 1 --timeout 20 "${packages[0]}" || skip "PyPI is out of reach"

complete=yes
if ! install -r "$wanted"; then
    for package in "${packages[@]}"; do
        install "$package" || {
            say "without $package"
            complete=
        }
    done
fi
if [ -d "$(echo "$venv"/lib/python3*/site-packages/torch)" ]; then
    "$venv/bin/python" "$here/cuda_stand_ins.py" "$venv"/lib/python3*/site-packages || {
        say "torch has no stand-ins for CUDA"
        complete=
    }
fi
[ -z "$complete" ] || echo "$made_of" >"$stamp"
