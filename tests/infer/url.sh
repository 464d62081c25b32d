#!/usr/bin/env bash
# A model behind a URL: the bits that it gives from the file, while it is fetched.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/../fetch/lib.sh"

demo=$WEIR_SOURCE/tests/demo/stories.weir
"$WEIR" run "$demo" -p "Once upon a time" -n 20 --temp 0 --json >plain.json
mkdir served
cp "$demo" served/model.weir
serve served/model.weir
here_hash() { grep -o '"logits_hash": "[0-9a-f]*"' "$1"; }
for how in "" "--keep none" "-t 1"; do
    # shellcheck disable=SC2086  # options
    "$WEIR" run "$root/model.weir" -p "Once upon a time" -n 20 --temp 0 --json $how >url.json || die "from a URL: $how"
    [ "$(here_hash url.json)" = "$(here_hash plain.json)" ] || die "other bits from a URL: $how"
done
