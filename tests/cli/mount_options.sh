#!/usr/bin/env bash
# What -o takes and refuses, asked of mount.weir -f (fake): nothing is mounted.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"
mkdir tree at
echo x >tree/x
expect 0 "$WEIR" pack tree t.weir
ln -s "$WEIR" mount.weir
ln -s "$WEIR" mount.fuse.weir
no_fuse=
! "$WEIR" --version | grep -q 'mount no' || no_fuse=yes

# refused NAME TEXT LIST: by both, which name that option; and not for being sloppy about.
refused() {
    expect 1 "$WEIR" mount t.weir at -o "$3"
    says "^weir mount: .*$1.*$2.*; try 'weir mount --help'\$"
    expect 1 ./mount.weir t.weir at -f -o "$3"
    says "^mount\\.weir: .*$1.*$2.*; try 'mount.weir --help'\$"
    [ "$(wc -l <<<"$err")" = 1 ] || die "not one line: $err"
}
refused "unknown mount option 'frobnicate'" '' 'allow_other,frobnicate=3,ro'
refused "unknown mount option 'frob,nicate'" '' 'ro,frob\,nicate'
refused "unknown mount option 'uid '" '' 'uid =3'
refused "unknown mount option 'Allow_other'" '' 'Allow_other'
refused uid 'needs a value' 'uid'
refused uid 'needs a value' 'gid=0,uid='
refused allow_other 'takes no value' 'allow_other=1'
refused syslog 'takes no value' 'syslog=yes'
for value in -1 4294967295 1x no-such-user '+1'; do
    refused uid "not '" "uid=$value"
    refused gid "not '" "gid=$value"
done
for value in 8 1000 -1 u=rx; do refused umask octal "umask=$value"; done
for value in -1 1s 99999999999; do refused timeout seconds "timeout=$value"; done
for value in 0 -1 1s 1000000; do refused timeout_io seconds "timeout_io=$value"; done
for value in 0 17 x -1; do refused threads 'from 1 to 16' "threads=$value"; done
for value in x 64X -1 1.5G 99999999999999999999 17179869184G 64MM; do refused cache size "cache=$value"; done
refused cache 'at least 128Ki' 'cache=127k'
refused cache 'at least 128Ki' 'cache=1'
refused cache_size size cache_size=x
refused cache_size 'at least 16M' cache_size=15M
refused cache_dir value cache_dir=
hex=$(printf '%064d' 1)
for value in 12 "${hex}0" "g${hex:1}" "md5:$hex"; do refused digest '64 hex' "digest=$value"; done
for value in none 3 Debug; do refused loglevel 'error, warning' "loglevel=$value"; done
expect 1 "$WEIR" mount t.weir at -o rw
says "'rw'.*cannot be changed, use ro"
expect 1 "$WEIR" mount t.weir at --cache 1k
says 'cache is at least 128Ki'
expect 1 "$WEIR" mount t.weir at --cache ./dir --cache-size 1k
says 'cache_size is at least 16M'
expect 1 "$WEIR" mount t.weir at -j 17
says 'threads is a number from 1 to 16'
expect 1 "$WEIR" mount --json t.weir at -o nonsense
json 'd["error"]["kind"] == "usage" and "nonsense" in d["error"]["message"]'

# The table is what --help prints.
expect 0 "$WEIR" mount --help
for name in allow_other uid gid umask timeout timeout_io subdir cache cache_dir cache_size threads digest loglevel syslog ro; do
    grep -qE "^  ${name}[= ]" <<<"$out" || die "--help lacks $name"
done
table=$(sed -n '/^Mount options/,/^Ignored/p' <<<"$out")
expect 0 ./mount.weir --help
[ "$(sed -n '/^Mount options/,/^Ignored/p' <<<"$out")" = "$table" ] || die "the helps differ"
grep -q '^Usage: mount.weir ' <<<"$out" || die "usage: $out"
expect 0 ./mount.fuse.weir -V
grep -qE '^weir [0-9]' <<<"$out" || die "-V: $out"

# Command lines of the helper.
expect 1 ./mount.weir
says '^mount\.weir: needs STORE[|]URL DIR'
expect 1 ./mount.weir t.weir
expect 1 ./mount.weir t.weir at more
says 'one operand too many'
expect 1 ./mount.fuse.weir -Z t.weir at
says "^mount\\.weir: unknown option '-Z'"
[ -z "$no_fuse" ] || {
    expect 32 ./mount.weir -f t.weir at
    says 'without libfuse3'
    expect 4 "$WEIR" umount at
    says 'without libfuse3'
    exit 0
}

accepted() { expect 0 ./mount.weir -f t.weir at -o "$1"; }
accepted 'ro'
accepted 'rw' # mount(8) says so when nobody said anything
accepted 'ro,nofail,_netdev,x-systemd.automount,x-systemd.idle-timeout=5min,X-odd,comment=a b'
accepted 'defaults,auto,noauto,user,user=joe,users,nouser,owner,group,exec,noexec,dev,nodev,suid,nosuid'
accepted 'atime,noatime,diratime,nodiratime,relatime,norelatime,strictatime,lazytime,nolazytime,sync,async'
accepted ',,ro,,'
accepted ''
accepted 'uid=0,gid=0,umask=0,timeout=0,timeout_io=1,threads=16,cache=131072,cache_dir=/a,cache_size=2G,subdir=/a/\,b/,loglevel=debug,syslog,allow_other'
accepted 'uid=4294967294,uid=root,gid=root,umask=0777'
for size in 128k 128K 1M 1m 1Mi 1MiB 1MB 1G 1048576 1048576B; do accepted "cache=$size"; done
expect 0 ./mount.weir t.weir at -sfnvrw -t fuse.weir -o frobnicate=1,ro -o allow_other
expect 1 ./mount.weir t.weir at -sf -o uid=nobody-of-that-name
expect 0 ./mount.fuse.weir -f -o ro t.weir at

# Fake, but everything that can be is checked.
digest=$("$WEIR" verify t.weir | sed -n 's/^sha256://p')
accepted "digest=$digest"
accepted "digest=sha256:${digest^^}"
expect 32 ./mount.weir -f t.weir at -o "digest=$hex"
says "$digest.*$hex"
expect 32 ./mount.weir -f nowhere.weir at
says '^mount\.weir: nowhere.weir: No such file'
expect 32 ./mount.weir -f tree/x at
expect 32 ./mount.weir -f t.weir nowhere
says '^mount\.weir: nowhere: not an existing directory'
[ -z "$(ls -A at)" ] || die "mounted in spite of -f"
