#!/usr/bin/env bash
# A packed tree, mounted, is the tree: bytes, attributes, listings, links; and it cannot be changed.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$work/tree
mkdir -p "$tree/sub/deep" "$tree/sub-way" "$tree/many" "$tree/empty dir"
: >"$tree/empty"
printf 'one' >"$tree/sub/deep/small.txt"
head -c 5000001 /dev/urandom >"$tree/sub/random"
head -c 3000000 /dev/zero >"$tree/sub-way/zeros"
chmod 640 "$tree/sub/random"
chmod 755 "$tree/sub/deep/small.txt"
chmod 700 "$tree/sub/deep"
for i in $(seq 1000); do echo "file $i" >"$tree/many/f$i"; done
printf 'odd' >"$tree/sub/"$'new\nline \xff'
[ -z "${WEIR_GEN:-}" ] || "$WEIR_GEN" "$tree/model" --megabytes 12 --shards 2
[ ! -d "$WEIR_SHARED/models/story" ] || cp -r "$WEIR_SHARED/models/story" "$tree/story"
chmod -R u+w "$tree"
ln -s ../sub/deep/small.txt "$tree/sub-way/link"
ln -s sub "$tree/dirlink"
"$WEIR" pack -q --keep-links "$tree" "$work/t.weir"
touch -d '2020-02-03 04:05:06.789 UTC' "$work/t.weir"

same_tree() {
    diff -r --no-dereference "$tree" "$mnt" || fail "names, bytes or links differ"
}

# Kinds, sizes and modes by name.  The modes of the tree lose their write bits.
attributes() { # attributes DIR
    (
        cd "$1"
        find . -mindepth 1 -type d -printf '%p|%y\n' -o -printf '%p|%y|%s|%n\n' | sort
        find . -mindepth 1 ! -type l ! -name $'*\n*' -printf '%m|%p\n' | sort -t'|' -k2 | while IFS='|' read -r mode name; do
            printf '%o|%s\n' $((0$mode & ~0222)) "$name"
        done
    )
}

same_attributes() {
    diff <(attributes "$tree") <(attributes "$mnt") || fail "attributes differ"
    [ -z "$(find "$mnt" -perm /222 ! -type l)" ] || fail "write bits"
    local odd
    odd=$(find "$mnt" -printf '%U %G %.14T@ %.14C@ %.14A@\n' | sort -u)
    [ "$odd" = "$(id -u) $(id -g) $times" ] || fail "owners or times: $odd"
}

refused() { # refused TEXT COMMAND...: the command fails and says so
    local said
    ! said=$(LC_ALL=C "${@:2}" 2>&1) || fail "worked: ${*:2}"
    [[ $said == *"$1"* ]] || fail "${*:2}: $said, not $1"
}

unchangeable() {
    refused "Read-only file system" touch "$mnt/new"
    refused "Read-only file system" mkdir "$mnt/sub/new"
    refused "Read-only file system" rm -f "$mnt/empty"
    refused "Read-only file system" mv "$mnt/empty" "$mnt/other"
    refused "Read-only file system" chmod 600 "$mnt/empty"
    refused "Read-only file system" ln -s x "$mnt/x"
    refused "Read-only file system" truncate -s 1 "$mnt/sub/random"
    refused "Read-only file system" dd if=/dev/zero of="$mnt/sub/random" conv=notrunc count=1 status=none
    refused "No such file" cat "$mnt/none"
    refused "No such file" cat "$mnt/none" # from the kernel's memory
    refused "Not a directory" cat "$mnt/empty/none"
}

mount_up "$work/t.weir"
times="1580702706.789 1580702706.789 1580702706.789"
same_tree
same_attributes
[ "$(find "$mnt/many" -type f | wc -l)" = 1000 ] || fail "the listing is short"
[ "$(readlink "$mnt/sub-way/link")" = ../sub/deep/small.txt ] || fail "link"
cmp "$mnt/sub-way/link" "$tree/sub/deep/small.txt"
[ "$(stat -f -c %c "$mnt")" -gt 1000 ] || fail "statfs: number of files"
plain=$(find "$tree" -type f -printf '%s\n' | awk '{n += $1} END {print int((n + 4095) / 4096)}')
[ "$(stat -f -c '%b %S' "$mnt")" = "$plain 4096" ] || fail "statfs: $(stat -f -c '%b %S' "$mnt"), not $plain"
[ "$(stat -c %b "$mnt/sub/random")" -ge $((4000000 / 512)) ] || fail "blocks of what does not shrink"
[ "$(stat -c %b "$mnt/sub-way/zeros")" -le $((1500000 / 512)) ] || fail "blocks of what does"
unchangeable
big=sub/random
[ ! -e "$tree/model" ] || big=model/$(cd "$tree/model" && find . -type f -printf '%s %P\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
for file in sub/random "$big"; do
    for how in mmap pread direct; do
        "$probe" "$how" "$tree/$file" "$mnt/$file" || fail "$how $file"
    done
done
pids=()
for how in mmap pread direct pages; do # at once, from several processes
    "$probe" "$how" "$tree/$big" "$mnt/$big" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail "several readers at once"; done
mount_down
[ ! -s "$log" ] || fail "there was something to say"

# With room for eight tiles, and for one: not even every thread has its own.
for cache in 1Mi 128Ki; do
    mount_up "$work/t.weir" --cache "$cache" -j 8
    same_tree
    "$probe" pread "$tree/$big" "$mnt/$big" || fail "a cache of $cache"
    mount_down
done
