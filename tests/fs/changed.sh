#!/usr/bin/env bash
# A store that is written to, cut, replaced or removed while it is mounted: what was there when it
# was mounted is read, or an error; never anything else.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

# Random bytes are stored as they are, so both stores have their extents at the same places (their
# indices may differ by a few bytes):
# extent i is at 4096 + i * 4198400 and has 32 tiles, 1024 pages.
noise_bytes=10000000
last=$(((noise_bytes - 1) / 4096))
for store in old new; do
    mkdir "$work/$store"
    head -c "$noise_bytes" /dev/urandom >"$work/$store/noise"
    echo "$store" >"$work/$store/small"
    "$WEIR" pack -q "$work/$store" "$work/$store.weir"
done

begin() { # begin [STORE]: a fresh copy, mounted
    cp "$work/${1:-old}.weir" "$work/t.weir"
    mount_up "$work/t.weir"
}

overwrite() { # overwrite STORE: in place, without cutting it first
    dd if="$work/$1.weir" of="$work/t.weir" bs=1M conv=notrunc status=none
}

bad_pages() { # bad_pages WANTED [TREE]: how many pages of noise are lost, the first, the last
    local bad
    bad=$("$probe" pages "$work/${2:-old}/noise" "$mnt/noise") || fail "$bad"
    [ "$bad" = "$1" ] || fail "bad pages: $bad, not $1"
}

logged() { # logged TEXT
    grep -q "$1" "$log" || fail "the log does not say $1: $(head -n 3 "$log")"
    : >"$log"
}

all_right() {
    bad_pages "0 0 0"
    cmp "$work/old/small" "$mnt/small" || fail small
    "$probe" pread "$work/old/noise" "$mnt/noise" || fail "at random"
    [ ! -s "$log" ] || fail "there was something to say"
}

all_lost="$((last + 1)) 0 $last"

# Overwritten by another store, once with its time put back, once after a tile was read.
for case in plain back-dated known; do
    begin
    [ "$case" != known ] || cmp -n 100 "$work/old/noise" "$mnt/noise"
    touch -r "$work/t.weir" "$work/time"
    overwrite new
    [ "$case" != back-dated ] || touch -r "$work/time" "$work/t.weir"
    if [ "$case" = known ]; then
        # The kernel still has the pages that it was given.
        bad=$("$probe" pages "$work/old/noise" "$mnt/noise") || fail "$bad"
        [ "${bad%% *}" -ge $((last + 1 - 1024)) ] || fail "bad pages: $bad"
    else
        bad_pages "$all_lost"
    fi
    ! cat "$mnt/small" >"$work/out" 2>/dev/null || fail "small: $(cat "$work/out")"
    logged "extent 2: the store was changed"
    overwrite old # and back: nothing is lost
    bad_pages "0 0 0"
    mount_down
done

# One extent overwritten, in the middle.
begin
dd if="$work/new.weir" of="$work/t.weir" bs=4096 skip=1026 seek=1026 count=1025 conv=notrunc status=none
bad_pages "1024 1024 2047"
sleep 1.1 # from now on it is known which extents are good
"$probe" pages "$work/old/noise" "$mnt/noise" >"$work/out" || fail "$(cat "$work/out")"
mount_down

# A bit flipped: its extent is lost, as only that has a checksum that is not beside it.
begin
printf 'x' | dd of="$work/t.weir" bs=1 seek=$((4096 + 512 + 5 * 131072 + 777)) conv=notrunc status=none
bad_pages "1024 0 1023"
logged "extent 0: the store was changed"
mount_down

# Cut in half; cut to nothing; cut and filled again by another store.
begin
truncate -s $(($(stat -c %s "$work/t.weir") / 2)) "$work/t.weir"
bad_pages "$((last + 1 - 1024)) 1024 $last"
mount_down
for refill in false true; do
    begin
    : >"$work/t.weir"
    ! "$refill" || cat "$work/new.weir" >"$work/t.weir"
    bad_pages "$all_lost"
    ! cat "$mnt/small" >"$work/out" 2>/dev/null || fail "small: $(cat "$work/out")"
    [ "$(stat -c %s "$mnt/noise")" = "$noise_bytes" ] || fail "the size has changed"
    mount_down
done
: >"$log"

# Renamed, replaced, removed, touched: the bytes are the same.
begin
mv "$work/t.weir" "$work/elsewhere.weir"
all_right
mount_down
begin
cp "$work/new.weir" "$work/t2.weir"
mv "$work/t2.weir" "$work/t.weir"
all_right
mount_down
begin
rm "$work/t.weir"
all_right
mount_down
begin
touch "$work/t.weir"
chmod 600 "$work/t.weir"
all_right
mount_down
begin
overwrite old
all_right
mount_down

# Appended to: what was there is there.
begin
head -c 5000 /dev/urandom >>"$work/t.weir"
all_right
mount_down

# Two models of one shape with other weights.
[ -n "${WEIR_GEN:-}" ] || exit 0
for seed in 1 2; do
    "$WEIR_GEN" "$work/model$seed" --megabytes 12 --seed "$seed"
    "$WEIR" pack -q "$work/model$seed" "$work/model$seed.weir"
done
begin model1
overwrite model2
find "$work/model1" -type f -printf '%P\n' >"$work/names"
while IFS= read -r name; do
    "$probe" pages "$work/model1/$name" "$mnt/$name" >"$work/out" || fail "$name: $(cat "$work/out")"
    [ "$(stat -c %s "$work/model1/$name")" -lt 1000000 ] || [ "$(cut -d' ' -f1 "$work/out")" -gt 0 ] ||
        fail "$name cannot have survived"
done <"$work/names"
mount_down
