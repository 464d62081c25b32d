#!/usr/bin/env bash
# check_pack.sh SLOW_DECODER: what `weir pack` makes of a tree of odd files, and of real models where
# there are some, the slow decoder gives back.
set -uo pipefail
export LC_ALL=C
slow=$1
weir=${WEIR:-}
[ -x "$weir" ] || {
    echo "skipped: no weir"
    exit 77
}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/golden.XXXXXX")
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
status=0

# safetensors FILE DTYPE BYTES-PER-ITEM: stdin as the one tensor, of whole items.
safetensors() {
    local bytes header
    bytes=$(cat >"$scratch/data" && stat -c %s "$scratch/data")
    header="{\"t\":{\"dtype\":\"$2\",\"shape\":[$((bytes / $3))],\"data_offsets\":[0,$bytes]}}"
    {
        # shellcheck disable=SC2059  # the format is made of the two bytes of the length
        printf "\\x$(printf %02x $((${#header} % 256)))\\x$(printf %02x $((${#header} / 256)))\0\0\0\0\0\0"
        printf %s "$header"
        cat "$scratch/data"
    } >"$1"
}

noise() { # noise BYTES: the same each time, and not compressible
    awk -v n="$1" 'BEGIN {
        for (x = 1; n--;) {
            x = x * 16807 % 2147483647
            printf "%c", int(x / 65536) % 256
        }
    }'
}

# A byte in 5 is noise, the others count slowly: something for an entropy coder to do.
mixed() { # mixed BYTES
    noise "$1" | od -An -v -tu1 -w1 | awk '{ printf "%c", NR % 5 ? 33 + int($1 * $1 / 4096) : 33 + $1 % 64 }' | head -c "$1"
}

odd_files() { # odd_files DIR
    mkdir -p "$1/sub/empty folder" "$1/deep/er"
    : >"$1/empty"
    printf x >"$1/one byte"
    noise 131072 >"$1/one tile"
    noise 131073 >"$1/one tile and a byte"
    head -c 5000000 /dev/zero >"$1/zeros"
    cp "$1/one tile" "$1/deep/er/again"
    printf 'name' >"$1/sub/"$'new\nline \xff'
    chmod 600 "$1/one byte"
    chmod 555 "$1/sub/empty folder"
    mixed 300000 >"$scratch/mixed"
    local i=0 dtype bytes
    for dtype in BF16:2 F16:2 F32:4 F64:8 F8_E4M3:1 F8_E5M2:1 I8:1 U8:1 I16:2 I32:4 I64:8 BOOL:1; do
        bytes=${dtype#*:}
        i=$((i + 1))
        head -c $(((200000 + i * 1000) / bytes * bytes)) "$scratch/mixed" |
            safetensors "$1/${dtype%:*}.safetensors" "${dtype%:*}" "$bytes"
    done
    head -c 2 "$scratch/mixed" | safetensors "$1/tiny.safetensors" BF16 2
    : | safetensors "$1/none.safetensors" F32 4
    head -c 65536 /dev/zero | safetensors "$1/nil.safetensors" F32 4
    head -c 1000 "$1/BF16.safetensors" >"$1/cut.safetensors"
    head -c 30 "$1/BF16.safetensors" >"$1/cut in its header.safetensors"
}

same() { # same DIR DIR: the same names, kinds, modes and bytes
    local list='%y %m [%P] [%l]\n'
    diff -r --no-dereference "$1" "$2" && diff <(cd "$1" && find . -mindepth 1 -printf "$list" | sort) \
        <(cd "$2" && find . -mindepth 1 -printf "$list" | sort)
}

has_both() { # has_both STORE: references and differences
    local listed
    listed=$("$weir" ls --tensors "$1") || return
    grep -q ' same as base' <<<"$listed" && grep -q ' difference' <<<"$listed"
}

check() { # check DIR NAME OPTION...: of `weir pack`, --base first
    local base=()
    [ "${3:-}" != --base ] || base=(--base "$4")
    if ! "$weir" pack -q "${@:3}" "$1" "$scratch/store.weir"; then
        echo "wrong: $2 is not packed"
    elif ! "$slow" "${base[@]}" "$scratch/store.weir" "$scratch/out"; then
        echo "wrong: the slow decoder does not read what was packed of $2"
    elif [ ${#base[@]} != 0 ] && ! has_both "$scratch/store.weir"; then
        echo "wrong: $2 has no references or no differences"
    elif ! same "$1" "$scratch/out"; then
        echo "wrong: $2 comes back changed"
    else
        echo "$2: $(stat -c %s "$scratch/store.weir") bytes stored"
        chmod -R u+w "$scratch/out"
        rm -rf "$scratch/out" "$scratch/store.weir"
        return
    fi
    status=1
    rm -rf "$scratch/out" "$scratch/store.weir"
}

odd_files "$scratch/odd"
check "$scratch/odd" "odd files"
"$weir" pack -q "$scratch/odd" "$scratch/base.weir" || status=1
cp -a "$scratch/odd" "$scratch/changed"
# A step up in places; the headers have no such letters.
for file in BF16 F16 F32 F64 F8_E4M3 I16 I64; do
    tr '+/;' ',0<' <"$scratch/odd/$file.safetensors" >"$scratch/changed/$file.safetensors"
done
check "$scratch/changed" "what differs from them" --base "$scratch/base.weir"
mkdir "$scratch/bare"
mkdir -p "$scratch/links/d/e"
echo text >"$scratch/links/d/file"
ln -s d/file "$scratch/links/to a file"
ln -s ../../d/./e "$scratch/links/d/e/to a folder"
check "$scratch/links" "links" --keep-links
check "$scratch/bare" "an empty folder"
if [ -d "${WEIR_SHARED:-}/models" ]; then
    for model in "$WEIR_SHARED"/models/*/; do
        cp -rL --no-preserve=ownership "$model" "$scratch/model"
        chmod -R u+w "$scratch/model"
        check "$scratch/model" "$(basename "$model")"
        rm -rf "$scratch/model"
    done
else
    echo "no real models here: only generated files"
fi
exit "$status"
