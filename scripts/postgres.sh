#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, which is gone when the command ends.
#
#   scripts/postgres.sh COMMAND...
#
# The command finds the server by EVERSTREAM_TEST_POSTGRES (an address, of a superuser) and its
# certificate by EVERSTREAM_TEST_POSTGRES_CA. With CI set, a missing server is installed (Debian's
# package). Exit code: the command's, or 77 when no server can be had.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

binaries() { find /usr/lib/postgresql -path '*/bin/postgres' -printf '%h\n' 2>/dev/null | sort -V | tail -1; }
bin=$(binaries)
if [ -z "$bin" ] && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # The package would start a server of its own.
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >&2 || true
  bin=$(binaries)
fi
[ -n "$bin" ] || { echo 'PostgreSQL is not installed: apt-get install postgresql' >&2; exit 77; }

# The server refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid postgres --regid postgres --clear-groups); fi

dir=$(mktemp -d) server=''
stop() {
  trap - EXIT INT TERM HUP
  # SIGINT ends the server without waiting for its clients.
  [ -z "$server" ] || { kill -INT "$server" 2>/dev/null; wait "$server" || true; }
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf '%s' "$password" >"$dir/password"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
  -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
  -keyout "$dir/key.pem" -out "$dir/ca.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
[ "$(id -u)" != 0 ] || chown -R postgres:postgres "$dir"
LC_ALL=C.UTF-8 "${as[@]}" "$bin/initdb" -D "$dir/db" -U everstream -A scram-sha-256 --pwfile="$dir/password" \
  -E UTF8 --no-sync >"$dir/log" 2>&1 || { tail -5 "$dir/log" >&2; exit 1; }

# The server cannot be given port 0, so ports are tried until one is free.
for _ in $(seq 20); do
  port=$((20000 + RANDOM))
  "${as[@]}" "$bin/postgres" -D "$dir/db" -h 127.0.0.1 -p "$port" -k "$dir" -c fsync=off \
    -c max_connections=200 -c shared_buffers=32MB -c ssl=on -c ssl_cert_file="$dir/ca.pem" \
    -c ssl_key_file="$dir/key.pem" >>"$dir/log" 2>&1 &
  server=$!
  while kill -0 "$server" 2>/dev/null; do
    if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; then break 2; fi
    sleep 0.1
  done
  server=''
done
[ -n "$server" ] || { tail -5 "$dir/log" >&2; exit 1; }

rm "$dir/password"
chmod 755 "$dir"
export EVERSTREAM_TEST_POSTGRES="postgres://everstream:$password@127.0.0.1:$port/postgres"
export EVERSTREAM_TEST_POSTGRES_CA="$dir/ca.pem"
code=0
"$@" || code=$?
exit "$code"
