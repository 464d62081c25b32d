#!/usr/bin/env bash
# What a mount tells beside its files: .weir/, extended attributes, sizes; and that it decodes a
# tile once, and hears nothing of what is read again.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || skip "no jq"

tile_bytes=131072
tree=$work/tree
mkdir -p "$tree/sub/empty"
head -c 20000001 /dev/urandom >"$tree/noise"
head -c 5000000 /dev/zero >"$tree/sub/zeros"
: >"$tree/nothing"
model=noise
if [ -n "${WEIR_GEN:-}" ]; then
    "$WEIR_GEN" "$tree/gen" --megabytes 12 --shards 1
    model=$(cd "$tree" && find gen -name '*.safetensors')
fi
"$WEIR" pack -q "$tree" "$work/t.weir"
"$WEIR" ls --json --tensors "$work/t.weir" >"$work/ls.json"

listed() { # listed FILE EXPRESSION: of its entry in weir ls
    jq -r --arg path "$1" ".entries[] | select(.path == \$path) | $2" "$work/ls.json"
}

status() { # status KEY: now
    jq -r ".$1" "$mnt/.weir/status.json"
}

# ---- the directory that no listing shows ----

hidden() {
    [ "$(LC_ALL=C ls -A "$mnt")" = "$(LC_ALL=C ls -A "$tree")" ] || fail "ls -A: $(ls -A "$mnt")"
    [ -z "$(find "$mnt" -name '.weir*')" ] || fail "find shows it"
    diff -r "$tree" "$mnt" || fail "a difference"
    [ "$(LC_ALL=C ls -A "$mnt/.weir")" = $'status.json\nstore' ] || fail ".weir holds: $(ls -A "$mnt/.weir")"
    [ "$(stat -c '%F' "$mnt/.weir")" = directory ] || fail "what is .weir?"
    [ "$(stat -c '%F' "$mnt/.weir/store")" = "regular file" ] || fail "what is the store?"
    [ -z "$(find "$mnt/.weir" -perm /222)" ] || fail "write bits"
    [ ! -e "$mnt/.weir/other" ] || fail "another file"
    [ ! -e "$mnt/sub/.weir" ] || fail "in another directory"
    ! touch "$mnt/.weir/new" 2>/dev/null || fail "it can be written to"
    ! rm -f "$mnt/.weir/store" 2>/dev/null || fail "it can be removed"
    [ "$(cd "$mnt/.weir/.." && echo noise*)" = noise ] || fail ".weir/.."
}

the_store_itself() {
    [ "$(stat -c %s "$mnt/.weir/store")" = "$(stat -c %s "$work/t.weir")" ] || fail "the store's size"
    cmp "$work/t.weir" "$mnt/.weir/store"
    "$probe" pread "$work/t.weir" "$mnt/.weir/store" || fail "the store at random offsets"
    "$probe" direct "$work/t.weir" "$mnt/.weir/store" || fail "the store past the page cache"
    tail -c 1000 "$mnt/.weir/store" | cmp - <(tail -c 1000 "$work/t.weir")
    "$WEIR" verify -q "$mnt/.weir/store" || fail "weir verify of the store in the mount"
    "$WEIR" ls --json --tensors "$mnt/.weir/store" | cmp - "$work/ls.json"
}

# ---- status.json ----

numbers="seconds requests reads read_bytes cache_bytes cache_hits decoded_tiles decoded_bytes
    ahead_bytes ahead_hit_bytes ahead_waste_bytes errors"

valid_status() { # valid_status: on stdin
    local key
    cat >"$work/status"
    jq -e 'type == "object" and all(.[]; type == "string" or type == "number")' "$work/status" \
        >/dev/null || fail "status.json is not a flat object: $(cat "$work/status")"
    for key in $numbers; do
        jq -e --arg key "$key" '.[$key] | type == "number" and . >= 0' "$work/status" >/dev/null ||
            fail "status.json: $key: $(cat "$work/status")"
    done
    jq -e '.store | type == "string" and length > 0' "$work/status" >/dev/null || fail "status.json: store"
    [ "$(jq -r .digest "$work/status")" = "$(jq -r .digest "$work/ls.json")" ] || fail "status.json: digest"
}

statuses() {
    valid_status <"$mnt/.weir/status.json"
    valid_status < <(cat "$mnt/.weir/status.json")
    forget all
    valid_status < <(cat "$mnt/.weir/status.json")
    valid_status < <(dd if="$mnt/.weir/status.json" bs=64k status=none)
    ! command -v python3 >/dev/null ||
        valid_status < <(python3 -c 'import sys; sys.stdout.write(open(sys.argv[1]).read())' "$mnt/.weir/status.json")
    # By one descriptor, before and after a read of a file.
    local before after
    before=$(status read_bytes)
    "$probe" warm "$mnt/.weir/status.json" "$mnt/sub/zeros" >"$work/two"
    valid_status < <(sed '/^----$/,$d' "$work/two")
    valid_status < <(sed '1,/^----$/d' "$work/two")
    after=$(status read_bytes)
    [ "$after" -gt "$before" ] || fail "read_bytes stays at $before"
    forget
    cat "$mnt/noise" >"$work/out"
    jq -e -s '.[1].reads > .[0].reads and .[1].requests > .[0].requests and
        .[1].read_bytes > .[0].read_bytes and .[1].seconds >= .[0].seconds' \
        "$work/status" "$mnt/.weir/status.json" >/dev/null ||
        fail "nothing has happened: $(cat "$work/status" "$mnt/.weir/status.json")"
    [ "$(status errors)" = 0 ] || fail "errors"
}

# ---- decoded once, and then the kernel's ----

tiles_of() { # tiles_of FILE: of each tensor, and of the opaque bytes before them (docs/format.md)
    local plain tensors
    plain=$(listed "$1" .plain_bytes)
    tensors=$(listed "$1" '[.tensors[].plain_bytes] | add // 0')
    echo $((($(listed "$1" "[.tensors[].plain_bytes | (. + $tile_bytes - 1) / $tile_bytes | floor] | add // 0")) + \
        (plain - tensors + tile_bytes - 1) / tile_bytes))
}

decoded_once() { # decoded_once FILE: by four readers at once, on a mount that is cold
    local pids=() pid file=$1
    mount_up "$work/t.weir"
    [ "$(status decoded_tiles)" = 0 ] || fail "decoded before anybody reads"
    for _ in 1 2 3 4; do
        cmp "$tree/$file" "$mnt/$file" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "a reader of four: $file"; done
    [ "$(status decoded_tiles)" = "$(tiles_of "$file")" ] ||
        fail "$file: decoded $(status decoded_tiles) tiles of $(tiles_of "$file")"
    [ "$(status decoded_bytes)" = "$(stat -c %s "$tree/$file")" ] ||
        fail "$file: decoded $(status decoded_bytes) bytes of $(stat -c %s "$tree/$file")"
    mount_down
}

# The page cache is the machine's: somebody else may empty it meanwhile, so there are ten tries.
in_ten_tries() {
    local try
    for try in {1..10}; do
        ! "$@" || return 0
    done
    fail "$*, $try times"
}

unheard() { # unheard FILE: reading and mapping again makes no request at all
    "$probe" warm "$mnt/.weir/status.json" "$mnt/$1" >"$work/two"
    [ "$(sed '/^----$/,$d' "$work/two" | jq .requests)" = "$(sed '1,/^----$/d' "$work/two" | jq .requests)" ]
}

unread() { # unread FILE: opening and reading again makes no read
    local before
    cat "$mnt/$1" >"$work/out"
    before=$(status reads)
    cat "$mnt/$1" >"$work/out"
    [ "$(status reads)" = "$before" ]
}

# ---- extended attributes ----

near() { # near GOT WANTED SLACK: within 2 % and SLACK
    awk -v got="$1" -v want="$2" -v slack="$3" \
        'BEGIN { exit !(got >= want * 0.98 - slack && got <= want * 1.02 + slack) }'
}

attribute() { # attribute FILE NAME WANTED
    local value
    value=$("$probe" xattr "$mnt/$1" "$2" || true)
    [ "$value" = "$3" ] || fail "$2 of $1 is $value, not $3"
}

attributes() {
    local file digest names
    digest=$(jq -r .digest "$work/ls.json")
    names=$'user.weir.digest\nuser.weir.ratio\nuser.weir.sha256\nuser.weir.tensors'
    for file in noise sub/zeros nothing "$model"; do
        attribute "$file" user.weir.sha256 "$(sha256sum <"$tree/$file" | cut -d' ' -f1)"
        attribute "$file" user.weir.digest "$digest"
        attribute "$file" user.weir.tensors "$(listed "$file" '.tensors | length')"
        for name in user.weir.none user.weir user.sha256 user.weir.sha2566; do
            attribute "$file" "$name" ENODATA
        done
    done
    for file in noise sub/zeros "$model"; do # of nothing it may be anything
        [ "$("$probe" xattr "$mnt/$file" | cut -d= -f1 | LC_ALL=C sort)" = "$names" ] ||
            fail "attributes of $file: $("$probe" xattr "$mnt/$file")"
    done
    for file in noise "$model"; do
        "$probe" xattr "$mnt/$file" user.weir.ratio >"$work/ratio" || fail "no ratio"
        grep -qxE '[0-9]+\.[0-9]{3}' "$work/ratio" || fail "ratio of $file: $(cat "$work/ratio")"
        near "$(cat "$work/ratio")" "$(listed "$file" .ratio)" 0 ||
            fail "ratio of $file: $(cat "$work/ratio"), not $(listed "$file" .ratio)"
    done
    for file in . sub sub/empty; do
        [ "$("$probe" xattr "$mnt/$file")" = "user.weir.digest=$digest" ] ||
            fail "attributes of $file: $("$probe" xattr "$mnt/$file")"
        attribute "$file" user.weir.sha256 ENODATA
    done
}

# ---- df and du ----

sizes() {
    local plain used file got want
    plain=$(find "$tree" -type f -printf '%s\n' | awk '{n += $1} END {print int((n + 4095) / 4096) * 4096}')
    used=$(stat -f -c '%b %f %S' "$mnt" | awk '{print ($1 - $2) * $3}')
    [ "$used" = "$plain" ] || fail "df: $used used, not $plain"
    for file in noise "$model"; do # who shares an extent, 4 MiB, may be given a part of it
        got=$(($(du -B 512 "$mnt/$file" | cut -f1) * 512))
        want=$(listed "$file" .stored_bytes)
        near "$got" "$want" 4194304 || fail "du of $file: $got, not $want"
    done
}

mount_up "$work/t.weir"
hidden
the_store_itself
statuses
attributes
sizes
in_ten_tries unheard noise
in_ten_tries unheard "$model"
in_ten_tries unread "$model"
mount_down
decoded_once noise
decoded_once "$model"
[ ! -s "$log" ] || fail "there was something to say"

# A store with an entry of that name shows it, and nothing else there.
mkdir -p "$work/own/.weir"
echo mine >"$work/own/.weir/store"
echo other >"$work/own/file"
"$WEIR" pack -q "$work/own" "$work/own.weir"
mount_up "$work/own.weir"
diff -r "$work/own" "$mnt" || fail "an entry .weir of the store's own"
[ "$(ls -A "$mnt/.weir")" = store ] || fail "more than its own: $(ls -A "$mnt/.weir")"
[ "$(LC_ALL=C ls -A "$mnt")" = $'.weir\nfile' ] || fail "its own .weir is not listed"
mount_down

# A tile that is bad is an error more.  Where it is: docs/format.md, 4.
mkdir "$work/bad"
head -c 1000000 /dev/urandom >"$work/bad/noise"
"$WEIR" pack -q "$work/bad" "$work/bad.weir"
flip "$work/bad.weir" $((4096 + 32 * 16 + 5 * tile_bytes + 1000))
mount_up "$work/bad.weir"
[ "$(status errors)" = 0 ] || fail "an error before it is read"
! cat "$mnt/noise" >"$work/out" 2>&1 || fail "a bad tile can be read"
[ "$(status errors)" -gt 0 ] || fail "an error that nobody counts"
mount_down
