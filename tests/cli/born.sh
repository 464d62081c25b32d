#!/usr/bin/env bash
# Weights that were born as FP8 or integers with scales: found, named, small, and back to the byte.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"
gen_born=$WEIR_BUILD/tests/gen_born

gen_tensor=$WEIR_BUILD/tests/gen_tensor

mkdir plain
for dtype in BF16 F16 F32; do
    "$gen_tensor" "plain/$dtype.safetensors" "$dtype" 1 512
done

born() { # born FOLDER NUMBERS BLOCK_ROWS BLOCK_COLS: all that, born so
    local f
    mkdir "$1"
    for f in BF16 F16 F32; do
        "$gen_born" "plain/$f.safetensors" "$1/$f.safetensors" "${@:2}"
    done
}

# small FOLDER BITS: so many a weight, at most.
small() {
    expect 0 "$WEIR" ls --tensors --json "$1.weir"
    json "all(t['bits_per_weight'] <= $2 for e in d['entries'] for t in e['tensors'])"
}

# named FOLDER TEXT: every matrix was born as TEXT.
named() {
    expect 0 "$WEIR" ls --tensors --json "$1.weir"
    json "all(t['born'] == '$2' for e in d['entries'] for t in e['tensors'])"
    expect 0 "$WEIR" ls --tensors "$1.weir"
    grep -qF "  ($2)" <<<"$out" || die "ls does not say '$2': $out"
}

check() { # check FOLDER BITS TEXT
    expect 0 "$WEIR" pack -j1 "$1" "$1.weir"
    expect 0 "$WEIR" pack -j3 "$1" "$1.3.weir"
    cmp "$1.weir" "$1.3.weir" || die "the number of threads shows"
    small "$1" "$2"
    named "$1" "$3"
    expect 0 "$WEIR" verify "$1.weir" --against "$1"
    expect 0 "$WEIR" unpack "$1.weir" "$1.out"
    same_tree "$1" "$1.out"
    rm -rf "$1.out" "$1.3.weir"
}

born fp8 e4m3 128 128
check fp8 6.6 'FP8 E4M3 x 128x128 scales'
born fp8-rows e4m3 1 0
check fp8-rows 6.7 'FP8 E4M3 x row scales'
born fp8-one e4m3 0 0
check fp8-one 6.6 'FP8 E4M3 x one scale'
born fp8-128 e4m3 1 128
check fp8-128 6.9 'FP8 E4M3 x 1x128 scales'
born e5m2 e5m2 128 128
check e5m2 5.7 'FP8 E5M2 x 128x128 scales'
born int8 int8 1 0
check int8 7.5 'int8 x row scales'
born int4 int4 1 64
check int4 4.1 'int4 x 1x64 scales'

# GGUF: FP8 that a converter widened, and then made Q8_0.
q8() { # q8 FOLDER FLOAT NUMBERS BLOCK_ROWS BLOCK_COLS BITS TEXT
    mkdir "$1"
    "$gen_born" "plain/$2.safetensors" wide.safetensors "${@:3:3}"
    "$WEIR_BUILD/tests/gen_q8" wide.safetensors "$1/w.gguf"
    check "$1" "$6" "$7"
}
q8 q8-fp8 F32 e4m3 128 128 6.6 'FP8 E4M3 x 128x128 scales'
q8 q8-rows BF16 e4m3 1 0 6.7 'FP8 E4M3 x row scales'
q8 q8-e5m2 BF16 e5m2 0 0 5.7 'FP8 E5M2 x one scale'
mkdir q8-plain
"$WEIR_BUILD/tests/gen_q8" plain/F32.safetensors q8-plain/w.gguf
expect 0 "$WEIR" pack q8-plain q8-plain.weir
expect 0 "$WEIR" ls --tensors --json q8-plain.weir
json "not any('born' in t for e in d['entries'] for t in e.get('tensors', []))"

# FP8 as a checkpoint has it takes what its bytes' frequencies say, and 1 % more at most.
mkdir f8
for dtype in F8_E4M3 F8_E5M2; do
    "$gen_tensor" "f8/$dtype.safetensors" "$dtype" 1 512
done
expect 0 "$WEIR" pack f8 f8.weir
expect 0 "$WEIR" verify f8.weir --against f8
expect 0 "$WEIR" ls --tensors --json f8.weir
cat >order0.py <<'END'
import collections, json, math, sys
for e in json.load(sys.stdin)["entries"]:
    (t,) = e["tensors"]
    data = open("f8/" + e["path"], "rb").read()[-t["plain_bytes"]:]
    bits = sum(-n * math.log2(n / len(data)) for n in collections.Counter(data).values())
    if 8 * t["stored_bytes"] > 1.01 * bits:
        sys.exit("%s: %.4f bits, order 0 is %.4f" % (e["path"], t["bits_per_weight"], bits / len(data)))
END
python3 order0.py <<<"$out" || die "FP8 takes more than its entropy"

# What was not born so is stored as if nobody had looked.
expect 0 "$WEIR" pack plain plain.weir
expect 0 "$WEIR" ls --tensors --json plain.weir
json "not any('born' in t for e in d['entries'] for t in e.get('tensors', []))"

# Half of a matrix only, and single elements changed since: the bytes come back all the same.
mkdir mixed
for f in BF16 F16 F32; do
    half=500000
    cat <(head -c "$half" "fp8/$f.safetensors") <(tail -c +$((half + 1)) "plain/$f.safetensors") >"mixed/half-$f.safetensors"
    cp "fp8/$f.safetensors" "mixed/$f.safetensors"
    for at in 100001 300003 500005; do
        printf '\377\177\300' | dd of="mixed/$f.safetensors" bs=1 seek="$at" conv=notrunc status=none
    done
done
expect 0 "$WEIR" pack mixed mixed.weir
expect 0 "$WEIR" unpack mixed.weir mixed.out
same_tree mixed mixed.out
expect 0 "$WEIR" ls --tensors --json mixed.weir
json "all(('born' in t) == ('half' not in e['path']) for e in d['entries'] for t in e['tensors'])"

# A tile that is damaged is found.
cp fp8.weir bad.weir
printf '\125' | dd of=bad.weir bs=1 seek=300001 conv=notrunc status=none
if ! cmp -s fp8.weir bad.weir; then
    expect 3 "$WEIR" verify bad.weir
fi

# Through a mount.
if "$WEIR" --version | grep -q 'mount yes' && (exec 3<>/dev/fuse) 2>/dev/null; then
    mkdir at
    mounts+=("$tmp/at")
    expect 0 "$WEIR" mount fp8.weir at
    diff -r fp8 at >/dev/null || die "through the mount"
    fusermount3 -u at
fi
