#!/usr/bin/env bash
# Runs a command beside a Vault server of its own, which is gone when the command ends.
#
#   scripts/vault.sh COMMAND...
#
# The command finds the server by EVERSTREAM_TEST_VAULT: its address, its root token and the key that
# unseals it. The server (scripts/vault/main.go, Vault's own core) is built once into the cache, which
# takes some 15 minutes of CPU and 9 GB while it lasts: only with VAULT_BUILD set. Exit code: the
# command's, or 77 when no server can be had.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/vault" && pwd)
version=$(cat "$source"/go.mod "$source"/main.go | sha256sum | cut -c1-12)
binary=${VAULT_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/everstream/vault-$version}

if [ ! -x "$binary" ] && [ -n "${VAULT_BUILD:-}" ] && command -v go >/dev/null; then
  work=$(mktemp -d)
  mkdir -p "$(dirname "$binary")"
  (cd "$source" && GOMODCACHE=$work/mod GOCACHE=$work/cache GOFLAGS=-modcacherw \
    nice -n 19 go build -mod=readonly -ldflags='-s -w' -o "$work/vault" . && mv "$work/vault" "$binary") >&2 || true
  rm -rf "$work"
fi
[ -x "$binary" ] || { echo "Vault is not built: VAULT_BUILD=1 scripts/vault.sh true" >&2; exit 77; }

dir=$(mktemp -d) server=''
stop() {
  trap - EXIT INT TERM HUP
  [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null; wait "$server" || true; }
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

mkfifo "$dir/said"
"$binary" >"$dir/said" 2>"$dir/log" &
server=$!
read -r -t 60 EVERSTREAM_TEST_VAULT <"$dir/said" || { tail -5 "$dir/log" >&2; exit 1; }
export EVERSTREAM_TEST_VAULT
code=0
"$@" || code=$?
exit "$code"
