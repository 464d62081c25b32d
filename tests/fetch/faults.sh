#!/usr/bin/env bash
# One behaviour of a server that fetch/http.h must cope with: faults.sh BEHAVIOUR (a function below).
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
: "${FETCH_PROBE:?}"

head -c 300000 /dev/urandom >file
part() { # part AT+N...: what the ranges must be
    local spec
    for spec in "$@"; do
        dd if=file bs=64K iflag=skip_bytes,count_bytes skip="${spec%+*}" count="${spec#*+}" status=none
    done
}
# gets OPTION... -- SPEC...: the probe gets exactly these bytes.
gets() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    expect 0 "$FETCH_PROBE" "backoff=20" "${options[@]}" "$root/file" "$@"
    part "$@" >want
    cmp -s "$tmp/.out" want || die "other bytes"
}
# fails KIND CODE OPTION...: what a probe of 1000+50000 dies of.
fails() {
    local code=$1
    shift
    expect "$code" "$FETCH_PROBE" "backoff=20" "$@" "$root/file" 1000+50000
}
not_found=3 changed=4 network=8 cancelled=10

fine() {
    serve file
    gets -- 0+1 299999+1 0+300000 123456+65537 1000+50000
    says '^size=300000 requests=6 '
    expect 0 "$FETCH_PROBE" tail=1000 "$root/file"
    tail -c 1000 file | cmp -s - "$tmp/.out" || die "another tail"
    expect 0 "$FETCH_PROBE" tail=400000 "$root/file"
    cmp -s file "$tmp/.out" || die "another whole file"
    [ "$(logged '{r["headers"].get("accept-encoding") for r in d}')" = "{'identity'}" ] ||
        die "Accept-Encoding"
    [ "$(logged 'd[1]["headers"]["if-range"]')" = '"one"' ] || die "no If-Range"
}
whole_file_for_a_range() {
    serve file whole_for_range:body
    gets -- 0+300000 # that is what was wanted
    fails $network
    says '200 \(the whole file\) for a 206'
    [ "$(logged 'd[-1]["sent"] < 300000 or len(d) == 4')" = True ] || die "tried again"
    serve file whole_for_range
    fails $network
    says 'ignores ranges'
    expect 0 "$FETCH_PROBE" tail=300000 "$root/file"
    cmp -s file "$tmp/.out" || die "another whole file"
}
wrong_content_range() {
    local how
    for how in start end malformed missing; do
        serve file "wrong_range:$how"
        fails $network
        says 'Content-Range'
        [ "$(logged 'len(d)')" = 2 ] || die "$how: tried again"
    done
}
short_body() {
    serve file short_body:3
    gets -- 1000+50000 7+200000
    serve file short_body:1000
    fails $network retries=4
    says 'bytes short \([0-9]+ tries\)'
    # What came is not asked for again.
    [ "$(logged 'd[2]["range"]')" = bytes=25999-50999 ] || die "$(logged 'd[2]["range"]')"
}
reset_in_the_body() {
    serve file reset:3
    gets -- 1000+50000 7+200000
}
excess_body() {
    serve file excess
    fails $network
    # With its true length, HTTP/1.1 says that it is longer than the range: both are a breach.
    says 'longer than the range'
}
changed_etag() {
    serve file changed:etag
    fails $changed
    says 'its ETag'
}
changed_date() {
    serve file changed:modified
    fails $changed
    says 'its Last-Modified'
}
changed_size() {
    serve file changed:size
    fails $changed
    says 'its size'
}
expired_url() {
    serve file signed:3
    gets connections=2 -- 0+1000 1000+1000 2000+1000 3000+1000 4000+1000 5000+1000 6000+1000 \
        7000+1000 8000+1000 9000+1000
    [ "$(logged '[r["path"] for r in d].count("/file")')" -ge 4 ] || die "not resolved again"
    serve file signed:0
    fails $network
    says 'signed URL is refused \(403\)'
    ! grep -q secret <<<"$err" || die "the signature is shown"
    serve file expires:1
    gets rate=100000 -- 0+100000 100000+100000
}
redirect_is_remembered() {
    serve file signed:100
    gets connections=1 -- 0+1000 1000+1000 2000+1000
    [ "$(logged '[r["path"] for r in d].count("/file")')" = 1 ] || die "resolved each time"
}
patience_retry_after() {
    serve file patience:Retry-After
    seconds gets -- 1000+50000
    [ "$took" -ge 1900 ] || die "came back after $took ms"
}
patience_rate_limit() {
    serve file patience:RateLimit
    seconds gets -- 1000+50000
    [ "$took" -ge 1900 ] || die "came back after $took ms"
}
rate_limit_spent() { # said of a fine answer: the next request waits, and is not refused
    serve file spent:2
    seconds gets connections=1 -- 1000+5000 7+2000 0+1 5+5
    [ "$took" -ge 1900 ] && [ "$took" -le 10000 ] || die "came back after $took ms"
    [ "$(logged 'len(d)')" = 5 ] || die "$(logged 'len(d)') requests"
}
too_much_patience() {
    serve file wait:3600
    seconds fails $network timeout=30
    says 'trouble \(503\); .* the next try is 3600 s away'
    [ "$took" -le 5000 ] || die "waited for $took ms"
}
server_errors() {
    local status
    for status in 500 502 503 504; do
        serve file "status:$status,4"
        gets -- 1000+50000
    done
    serve file status:503,1000
    fails $network retries=3
    says '503\) \(4 tries\)'
    # The waits grow: 20 ms, 40, 80, 160 and 320, half of each at least.
    serve file status:503,5
    seconds gets -- 1000+50000
    [ "$took" -ge 310 ] || die "no backoff: $took ms"
}
missing() {
    serve file status:404,1
    fails $not_found
    says 'no such file'
}
refused() {
    serve file status:403,1
    fails $network
    says 'refuses \(403\)'
    serve file status:401,1
    fails $network
    says 'token'
}
stall() {
    serve file stall:2
    seconds gets speed_seconds=1 -- 1000+50000
    [ "$took" -ge 2000 ] && [ "$took" -le 15000 ] || die "took $took ms"
    serve file stall:1000
    fails $network speed_seconds=1 retries=2
    says 'stalled'
}
silence() {
    serve file silence:1
    gets speed_seconds=1 -- 1000+50000
    serve file silence:1000
    seconds fails $network timeout=2
    says 'nothing came for'
    [ "$took" -le 8000 ] || die "took $took ms"
}
drip() { # never silent, never done
    serve file drip
    seconds fails $network speed_seconds=1 retries=2
    says 'stalled: [0-9]+ bytes/s'
    [ "$took" -le 15000 ] || die "took $took ms"
}
redirect_loop() {
    serve file loop
    fails $network
    says 'more than 10 redirects'
    [ "$(logged 'len(d)')" = 11 ] || die "$(logged 'len(d)') requests"
    serve file redirects:10
    gets -- 1000+50000
}
redirect_with_a_page() {
    serve file wordy_redirect:200000
    gets -- 1000+50000
    serve file wordy_redirect:20000000
    fails $network
    says 'redirect to nowhere'
}
redirect_elsewhere() {
    local to
    for to in ftp://127.0.0.1/file file:///etc/passwd gopher://127.0.0.1/ http://u:p@127.0.0.1/; do
        serve file "to:$to"
        fails $network
        says 'redirect to what is no http or https URL'
    done
    serve file to:
    fails $network
    says 'redirect to nowhere'
}
token_goes_to_one_origin() {
    serve file
    local there=$root there_log=$log
    serve file "to:$there/file"
    gets token=SECRET "token_url=$root/api" -- 0+1000
    [ "$(logged '{r["headers"].get("authorization") for r in d}')" = "{'Bearer SECRET'}" ] ||
        die "the token did not come"
    log=$there_log
    [ "$(logged '{r["headers"].get("authorization") for r in d}')" = "{None}" ] ||
        die "the token went to another port"
    # The very same origin, asked directly, by another name: not the token's.
    serve file
    gets token=SECRET "token_url=${root/127.0.0.1/localhost}" -- 0+1000
    [ "$(logged '{r["headers"].get("authorization") for r in d}')" = "{None}" ] || die "leaked"
    serve file status:500,1000
    fails $network token=SECRET "token_url=$root" retries=1
    ! grep -q SECRET <<<"$err" || die "the token is shown"
}
compressed() {
    serve file compresses
    fails $network
    says 'compresses'
}
long_head() {
    serve file long_head:1000
    fails $network
    says 'longer than 64 KiB'
}
hostile_heads() {
    serve file endless_heads
    seconds fails $network retries=2
    says 'longer than 64 KiB'
    serve file slow_head:1
    gets speed_seconds=1 -- 1000+50000
    serve file slow_head:1000
    seconds fails $network speed_seconds=1 retries=2
    says 'stalled'
    [ "$took" -le 15000 ] || die "took $took ms"
}
endless_error_body() {
    serve file endless_error:404
    fails $not_found
    says 'no such file'
    serve file endless_error:503
    fails $network retries=2
    says '503\) \(3 tries\)'
}
no_http() {
    serve file garbage:2
    gets -- 1000+50000
    serve file garbage:1000
    fails $network retries=2
}
nobody_there() {
    serve file
    end_servers
    sleep 0.2
    seconds fails $network retries=3
    says 'onnect'
    root=http://no-such-host.invalid
    fails $network retries=1
    says 'resolve'
}
server_comes_back() {
    serve file gone:gone
    : >gone
    (sleep 2 && rm gone) &
    gets timeout=20 retries=1000 -- 1000+50000
    : >gone
    seconds fails $network timeout=2 retries=1000
    says 'nothing came for'
    [ "$took" -le 6000 ] || die "took $took ms"
}
rate_limit() {
    serve file
    seconds gets rate=100000 connections=8 tail=1 -- 0+30000 30000+30000 60000+30000 90000+30000 \
        120000+30000 150000+30000 180000+20000
    [ "$took" -ge 1700 ] && [ "$took" -le 6000 ] || die "200 kB at 100 kB/s took $took ms"
}
stops_when_told() {
    serve file stall:1000
    seconds fails $cancelled stop=1
    [ "$took" -ge 900 ] && [ "$took" -le 3000 ] || die "took $took ms"
    serve file wait:30
    seconds fails $cancelled stop=1
    [ "$took" -le 3000 ] || die "took $took ms"
}
many_ranges() {
    local specs=() i
    for ((i = 0; i < 60; i++)); do specs+=("$((i * 5000))+5000"); done
    serve file short_body:7 reset:7
    gets connections=16 -- "${specs[@]}"
    gets connections=1 -- "${specs[@]}"
    gets connections=3 -- "${specs[@]}"
}
bad_urls() {
    root=ftp://127.0.0.1
    expect 1 "$FETCH_PROBE" "$root/file"
    for root in http://user:secret@127.0.0.1 "http://a b"; do
        expect 1 "$FETCH_PROBE" "$root/file"
        ! grep -q secret <<<"$err" || die "the password is shown"
    done
    expect 1 "$FETCH_PROBE" connections=17 http://127.0.0.1/
    expect 1 "$FETCH_PROBE" token=x http://127.0.0.1/
}

"$1"
