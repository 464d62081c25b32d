#!/usr/bin/env bash
# Every file of the real data packs, verifies and comes back byte for byte, through the mount too.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
shared=${WEIR_SHARED:-}
[ -d "$shared/models" ] || skip "no real data in ../shared"
cd "$tmp"
mounting=
if "$WEIR" --version | grep -q 'mount yes' && (exec 3<>/dev/fuse) 2>/dev/null; then
    mounting=yes
    mkdir at && mounts+=("$tmp/at")
fi

for folder in models configs tokenizers; do
    [ -d "$shared/$folder" ] || continue
    expect 0 "$WEIR" pack "$shared/$folder" "$folder.weir" --json
    json 'd["plain_bytes"] > 0 and d["stored_bytes"] < d["plain_bytes"]'
    expect 0 "$WEIR" verify "$folder.weir" --against "$shared/$folder"
    expect 0 "$WEIR" unpack "$folder.weir" "$folder"
    same_tree "$shared/$folder" "$folder"
    expect 0 "$WEIR" ls --tensors --json "$folder.weir"
    json 'len(d["entries"]) > 0'
    [ -n "$mounting" ] || continue
    expect 0 "$WEIR" mount "$folder.weir" at
    diff -r "$shared/$folder" at || die "$folder differs through the mount"
    fusermount3 -u at
done

# One store a file: none grows by more than 1 % + 8 KiB.
n=0
while IFS= read -r -d '' file; do
    rm -rf one.weir one
    expect 0 "$WEIR" pack "$file" one.weir
    expect 0 "$WEIR" unpack one.weir one
    cmp "$file" "one/${file##*/}" || die "$file"
    plain=$(stat -Lc %s "$file") stored=$(stat -c %s one.weir)
    [ "$stored" -le $((plain + plain / 100 + 8192)) ] || die "$file: $plain bytes became $stored"
    n=$((n + 1))
done < <(find -L "$shared/models" "$shared/configs" "$shared/tokenizers" -type f -print0)
echo "$n files${mounting:+, through the mount too}"
[ "$n" -gt 20 ] || die "only $n files"
