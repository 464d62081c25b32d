#!/usr/bin/env bash
# A model in a store that needs a base computes the same bits as its plain files: with the base beside
# it or named, in little memory, and through a mount of it.
# shellcheck source=tests/infer/lib.sh
. "$(dirname "$0")/lib.sh"
need_models
relative=$WEIR_BUILD/tests/gen_relative
[ -x "$relative" ] || {
    echo "skipped: no generator"
    exit 77
}

make_model 24
mkdir "$work/near" "$work/away"
cp "$work"/model/*.json "$work/near/"
for f in "$work"/model/*.safetensors; do "$relative" nudge "$f" "$work/near/$(basename "$f")" 9; done
"$WEIR" pack -q --base "$work/model.weir" "$work/near" "$work/near.weir"
"$WEIR" pack -q --base "$work/model.weir" "$work/model" "$work/same.weir"

text="Once upon a time there was a little girl"
options=(-c 64 --temp 0 --ignore-eos --json -p "$text" -n 8)
run() { expect 0 "$WEIR" run "$@" "${options[@]}"; }
run "$work/model"
of_model=$(key 'd["logits_hash"]')
run "$work/near"
hash=$(key 'd["logits_hash"]')
[ "$hash" != "$of_model" ] || fail "two models have one hash"

same() { # same WHAT ARGUMENT...
    run "${@:2}"
    [ "$(key 'd["logits_hash"]')" = "$hash" ] || fail "other bits: $1"
}
for form in resident none plain; do
    same "beside, $form" "$work/near.weir" --keep $form
done
least=$(least_of "$work/near.weir" "${options[@]}")
same "in $least MiB" "$work/near.weir" --ram "${least}MiB"
mv "$work/model.weir" "$work/away/"
same named "$work/near.weir" --base "$work/away/model.weir"
run "$work/same.weir" --base "$work/away/model.weir"
[ "$(key 'd["logits_hash"]')" = "$of_model" ] || fail "other bits: all of it the base's"

expect 2 "$WEIR" run "$work/near.weir" "${options[@]}"
says 'it needs its base, the store sha256:[0-9a-f]{64}, .*name it with --base'

# Of a mount the store behind it is read, if its base is at hand, else what it shows.
[ -w /dev/fuse ] && command -v fusermount3 >/dev/null || exit 0
mkdir "$work/mnt"
"$WEIR" mount --base "$work/away/model.weir" "$work/near.weir" "$work/mnt" || exit 0
trap 'fusermount3 -uz "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
same "through a mount" "$work/mnt"
same "the store behind a mount" "$work/mnt" --base "$work/away/model.weir"
fusermount3 -u "$work/mnt"
