#!/usr/bin/env bash
# A mount of a near-lossless store: the bytes of unpack, and attributes that say what they are.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"
[ -x "${WEIR_GEN:-}" ] || skip "no generator"

"$WEIR_GEN" made --megabytes 6 --shards 1 --rows
"$WEIR" pack -q --profile q8 made near.weir
"$WEIR" pack -q made plain.weir
"$WEIR" unpack -q near.weir out
mount_up near.weir
diff -r out mnt || fail "not what unpack gives"
file=$(cd made && ls ./*.safetensors)
value=$("$probe" xattr "mnt/$file" user.weir.near_lossless)
grep -qE '^tensors=[1-9][0-9]* snr_db=33\.[0-9]{2} max_error_steps=0\.(4[0-9]{2}|500)$' <<<"$value" ||
    fail "near_lossless is $value"
"$probe" xattr "mnt/$file" | grep -q '^user.weir.near_lossless=' || fail "the list lacks it"
! "$probe" xattr mnt/config.json | grep near || fail "config.json has it"
! "$probe" xattr mnt | grep near || fail "the root has it"
mount_down

mount_up plain.weir
! "$probe" xattr "mnt/$file" | grep near || fail "a lossless file has it"
diff -r made mnt || fail "not what was packed"
mount_down
