#!/usr/bin/env bash
# Builds Everstream and serves. With no upstream configured or found on this machine, a small real model is
# installed and started first, and stopped at the end.
#
#   scripts/run.sh [arguments of `everstream serve`]
#
# EVERSTREAM_CONFIG, EVERSTREAM_LISTEN and provider keys (OPENAI_API_KEY ...) work as for the binary. EVERSTREAM_BINARY
# is one that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
everstream=${EVERSTREAM_BINARY:-${CARGO_TARGET_DIR:-target}/release/everstream}
url=http://${EVERSTREAM_LISTEN:-127.0.0.1:8080}
url=${url/0.0.0.0/127.0.0.1}
server='' announcer='' own_model=''

say() { printf '%s\n' "$*" >&2; }

find_upstream() {
  local list found=0
  list=$("$everstream" upstreams found 2>&1) || found=$?
  case $found in
    0) say "$list" ;;
    3) start_small_model ;;
    *) say "$list"; exit "$found" ;;
  esac
}
start_small_model() {
  local base outcome=0
  say "No provider key and no model server found: a small real model will answer."
  scripts/small-model.sh status >/dev/null || own_model=yes
  base=$(scripts/small-model.sh start) || outcome=$?
  if [ "$outcome" -ne 0 ]; then
    own_model=''
    say "No small model. Set OPENAI_API_KEY, or OPENAI_BASE_URL to any OpenAI-compatible server, and run this again."
    exit 1
  fi
  export OPENAI_BASE_URL=$base OPENAI_API_KEY=none
}
finish() {
  [ -z "$announcer" ] || kill "$announcer" 2>/dev/null || true
  [ -z "$own_model" ] || scripts/small-model.sh stop
}
signal_server() { [ -z "$server" ] || kill -"$1" "$server" 2>/dev/null || true; }

# The first model of the list that chats, by its name; else the first one.
a_model() {
  local ids
  ids=$(curl -fsS --max-time 20 ${EVERSTREAM_API_KEYS:+-H "Authorization: Bearer ${EVERSTREAM_API_KEYS%%,*}"} "$url/v1/models" |
    grep -o '"id": *"[^"]*"' | cut -d'"' -f4) || true
  grep -m1 -E 'smollm|gpt-[45]|llama|qwen|mistral|gemma|phi' <<<"$ids" || head -n1 <<<"$ids"
}
announce() {
  local model key='' python_key=none
  until curl -fsS -o /dev/null --max-time 2 "$url/readyz" 2>/dev/null; do sleep 0.2; done
  model=$(a_model)
  if [ -n "${EVERSTREAM_API_KEYS:-}" ]; then
    key=" -H 'Authorization: Bearer YOUR_KEY'" python_key=YOUR_KEY
  fi
  cat >&2 <<TEXT

Everstream is ready on $url. In another terminal:

  curl -N $url/v1/chat/completions -H 'Content-Type: application/json'$key -d '{"model":"${model:-MODEL}","stream":true,"messages":[{"role":"user","content":"Tell me a story about a river."}]}'

Stop it half way with Ctrl-C. Then go on after the last id that you saw (STREAM.SEQ):

  curl -N $url/v1/streams/STREAM$key -H 'Accept: text/event-stream' -H 'Last-Event-ID: STREAM.SEQ'

From Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="$url/v1", api_key="$python_key")
  for chunk in client.chat.completions.create(model="${model:-MODEL}", stream=True, messages=[{"role": "user", "content": "Hello"}]):
      print(chunk.choices[0].delta.content or "", end="", flush=True)

Ctrl-C here stops Everstream.

TEXT
}

trap finish EXIT
[ -n "${EVERSTREAM_BINARY:-}" ] || cargo build --release
[ -n "${EVERSTREAM_CONFIG:-}" ] || [ $# -gt 0 ] || find_upstream
# In a process group of its own, so that a Ctrl-C reaches it once, through us: a second one would end it at once.
set -m
"$everstream" serve "$@" </dev/null &
server=$!
set +m
trap 'signal_server INT' INT
trap 'signal_server TERM' TERM HUP
if [ -z "${EVERSTREAM_CONFIG:-}" ] && [ $# -eq 0 ]; then
  announce &
  announcer=$!
fi
code=0
wait "$server" || code=$?
# A trapped signal ends `wait` before the server has ended.
while kill -0 "$server" 2>/dev/null; do
  code=0
  wait "$server" || code=$?
done
exit "$code"
