#!/usr/bin/env bash
# Prints the transcript that the README shows, by doing what it tells: a real model's answer is cut half way and
# goes on where it stopped; then the gateway is killed in the middle of another one and started again.
#
#   scripts/transcript.sh         needs target/release/everstream (make run builds it)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
everstream=${CARGO_TARGET_DIR:-target}/release/everstream
work=$(mktemp -d) gateway='' model_is_ours=''
scripts/small-model.sh status >/dev/null || model_is_ours=yes
OPENAI_BASE_URL=$(scripts/small-model.sh start 2>/dev/null)
export OPENAI_BASE_URL OPENAI_API_KEY=none EVERSTREAM_LISTEN=127.0.0.1:0 EVERSTREAM_LOG=error
finish() {
  [ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
  [ -z "$model_is_ours" ] || scripts/small-model.sh stop
  rm -rf "$work"
}
trap finish EXIT

start() {
  : >"$work/log"
  "$everstream" serve --data-dir "$work/data" 2>"$work/log" &
  gateway=$!
  disown
  until grep -q 'listening on' "$work/log"; do sleep 0.05; done
  url=$(grep -o 'http://[0-9.:]*' "$work/log")
}
ask() { # WORDS FILE: a streamed answer, as curl shows it; ends the (sub)shell
  exec curl -sN "$url/v1/chat/completions" -H 'Content-Type: application/json' \
    -d "{\"model\":\"smollm2\",\"stream\":true,\"max_tokens\":90,\"messages\":[{\"role\":\"user\",\"content\":\"$1\"}]}" >"$2"
}
seqs() { grep -c '^id: ' "$1" || true; }
wait_for() { until [ "$(seqs "$2")" -ge "$1" ]; do sleep 0.02; done; }
last_id() { grep '^id: ' "$1" | tail -n 1 | cut -c5-; }
text() { # FILE...: what the model said
  cat "$@" | grep -o '"content":"[^"]*"' | sed 's/^"content":"//; s/"$//' | tr -d '\n'
  echo
}
resume() { curl -sN "$url/v1/streams/${1%.*}" -H 'Accept: text/event-stream' -H "Last-Event-ID: $1"; }
first_events() { sed -n '1,6p' "$1"; }

start
ask 'Tell me a story about a river.' "$work/cut" & client=$!
wait_for 12 "$work/cut"
kill "$client"; wait "$client" 2>/dev/null || true
id=$(last_id "$work/cut")
echo '$ curl -N localhost:8080/v1/chat/completions -d '"'"'{"model":"smollm2","stream":true, ...}'"'"
first_events "$work/cut"
echo '...'
echo "id: $id"
echo '^C'
echo
echo "\$ curl -N localhost:8080/v1/streams/${id%.*} -H 'Accept: text/event-stream' -H 'Last-Event-ID: $id'"
resume "$id" >"$work/rest"
first_events "$work/rest" | sed -n '1,2p'
echo '...'
tail -n 3 "$work/rest" | sed '/^$/d'
echo
echo "# before the cut: $(text "$work/cut")"
echo "# after it:       $(text "$work/rest")"
echo "# in the log:     $(curl -sN "$url/v1/streams/${id%.*}?stream=true" >"$work/all"; cat "$work/cut" "$work/rest" | grep -v '^$' | cmp - <(grep -v '^$' "$work/all") && echo 'byte for byte the same')"
echo

ask 'Tell me a story about the sea.' "$work/killed" & client=$!
wait_for 12 "$work/killed"
kill -9 "$gateway"
wait "$client" || true
id=$(last_id "$work/killed")
echo '$ curl -N localhost:8080/v1/chat/completions -d ...      # and meanwhile, elsewhere: kill -9'
echo "id: $id"
echo 'curl: (18) transfer closed with outstanding read data remaining'
echo
start
echo '$ everstream serve                                       # started again'
echo "\$ curl -N localhost:8080/v1/streams/${id%.*} -H 'Accept: text/event-stream' -H 'Last-Event-ID: $id'"
resume "$id" | sed '/^$/d'
