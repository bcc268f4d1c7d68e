#!/usr/bin/env bash
# Installs toxiproxy, a TCP proxy that injects faults, from Go's registry, and prints where it is.
#
#   scripts/toxiproxy.sh
#
# It is kept in $EVERSTREAM_TOOLS (default ~/.cache/everstream/tools). Exit code 77: it cannot be had here.
set -euo pipefail
version=v2.12.0
directory=${EVERSTREAM_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/everstream/tools}/toxiproxy-$version

say() { printf 'toxiproxy: %s\n' "$*" >&2; }
need_go() {
  command -v go >/dev/null && return
  command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return 1
  say "Go is not installed: apt-get brings it"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go ca-certificates; } >&2
}

if [ ! -x "$directory/server" ]; then
  need_go || { say "needs Go"; exit 77; }
  mkdir -p "$directory"
  # In a directory beside and then moved, so that an interrupted build leaves nothing that looks whole.
  building=$(mktemp -d "$directory.XXXXXX")
  trap 'rm -rf "$building"' EXIT
  if ! GOBIN=$building go install -ldflags='-s -w' "github.com/Shopify/toxiproxy/v2/cmd/server@$version" >&2; then
    say "Go's registry does not give it"
    exit 77
  fi
  mv "$building/server" "$directory/server"
fi
printf '%s\n' "$directory/server"
