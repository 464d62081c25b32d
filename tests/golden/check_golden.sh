#!/usr/bin/env bash
# check_golden.sh SLOW_DECODER [WEIR]: the golden stores give the bytes that they should, and the bad
# ones are refused with the exit code that expected.txt tells; by the slow decoder, and by weir if
# there is one.
set -uo pipefail
export LC_ALL=C
golden=$(cd "$(dirname "$0")" && pwd)
slow=$1
weir=${2:-${WEIR:-}}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/golden.XXXXXX")
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
out=$scratch/out
status=0

bad() { # bad WHAT: says what is wrong, and what the program said
    echo "wrong: $*"
    sed 's/^/    /' "$scratch/said"
    status=1
}

# gives CODE COMMAND...: the command ends with the code, or one of them (3|4), and says why if that is
# not 0.
gives() {
    local code=$1 got=0
    shift
    "$@" >"$scratch/said" 2>&1 </dev/null || got=$?
    [[ "|$code|" = *"|$got|"* ]] || bad "exit code $got, not $code: $*"
    [ "$code" = 0 ] || [ -s "$scratch/said" ] || bad "no word of why: $*"
}

# same_tree NAME: $out holds what NAME.sha256 and NAME.tree tell, and nothing else.
same_tree() {
    (cd "$out" && find . -type f -printf '%P\0' | sort -z | xargs -0r sha256sum) >"$scratch/sha256"
    (cd "$out" && find . -mindepth 1 -printf '%y %m [%P] [%l]\n' | sort) >"$scratch/tree"
    diff "$golden/$1.sha256" "$scratch/sha256" || bad "the files of $1"
    diff "$golden/$1.tree" "$scratch/tree" || bad "the tree of $1"
}

check_good() { # check_good STORE PROGRAM...: `PROGRAM... STORE $out` unpacks it
    local name
    name=$(basename "$1" .weir)
    gives 0 "${@:2}" "$1" "$out"
    same_tree "$name"
    chmod -R u+w "$out" && rm -rf "$out"
}

check_bad() { # check_bad STORE CODE WHO
    gives "$2" "$weir" verify -q "${with_base[@]}" "$1"
    [ "$3" = verify ] || gives "$2" "$weir" unpack -q "${with_base[@]}" "$1" "$out"
    [ "$3" != open ] || gives "$2" "$weir" ls -q "$1"
    [ "$3" != base ] || gives 0 "$weir" ls -q "$1"
    rm -rf "$out"
}

# check_alone STORE: a store that is right, where its base is not: it can be listed, no more.
check_alone() {
    mkdir "$scratch/alone" && cp "$1" "$scratch/alone/store.weir"
    gives 2 "$slow" --check "$scratch/alone/store.weir"
    if [ -n "$weir" ]; then
        gives 0 "$weir" ls -q "$scratch/alone/store.weir"
        gives 2 "$weir" verify -q "$scratch/alone/store.weir"
        gives 2 "$weir" unpack -q "$scratch/alone/store.weir" "$out"
        [ ! -e "$out" ] || bad "unpacked without its base: $1"
    fi
    rm -rf "$scratch/alone" "$out"
}

declare -A codes=([ok]=0 [part]=2 [corrupt]=3 [unsupported]=4 [refused]='3|4')
n=0
while read -r store verdict who base; do
    [ "$store" != '#' ] || continue
    n=$((n + 1))
    with_base=(${base:+--base "$golden/$base"})
    gives "${codes[$verdict]}" "$slow" "${with_base[@]}" --check "$golden/$store"
    case $verdict:$who:$base in ok:*:?* | part:*:?* | *:base:*) check_alone "$golden/$store" ;; esac
    if [ "$verdict" = ok ]; then
        check_good "$golden/$store" "$slow" "${with_base[@]}"
        [ -z "$weir" ] || gives 0 "$weir" verify -q "${with_base[@]}" "$golden/$store"
        [ -z "$weir" ] || gives 0 "$weir" ls -q --tensors "$golden/$store"
        [ -z "$weir" ] || check_good "$golden/$store" "$weir" unpack -q "${with_base[@]}"
    elif [ "$verdict" = part ]; then
        [ -z "$weir" ] || gives 2 "$weir" verify -q "${with_base[@]}" "$golden/$store"
        [ -z "$weir" ] || gives 0 "$weir" ls -q --tensors "$golden/$store"
        [ -z "$weir" ] || gives 2 "$weir" unpack -q "${with_base[@]}" "$golden/$store" "$out"
        [ ! -e "$out" ] || bad "a part of a file: $store"
    elif [ -n "$weir" ]; then
        check_bad "$golden/$store" "${codes[$verdict]}" "$who"
    fi
done <"$golden/expected.txt"
find "$golden" -name '*.weir' -printf '%f\n' | sort >"$scratch/said"
awk '$1 != "#" { print $1 }' "$golden/expected.txt" | sort -u | diff - "$scratch/said" ||
    bad "stores that expected.txt does not name, or names alone"

# The stores and the worked example of docs/format.md are what the script makes.
if command -v python3 >/dev/null && python3 -c 'import ctypes; ctypes.CDLL("libxxhash.so.0")' 2>/dev/null; then
    gives 0 python3 "$golden/make_golden.py" --check
else
    echo "not checked that make_golden.py makes these: no python3 or no libxxhash"
fi
echo "$n stores, with the slow decoder${weir:+ and $weir}"
exit "$status"
