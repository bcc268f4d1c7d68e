#!/usr/bin/env bash
# Measures Everstream against nginx and against no proxy at all, and writes docs/benchmarks.md.
#
#   scripts/bench.sh [--quick] [--only SCENARIOS] [--page FILE]
#
#   --quick            one short round: about three minutes instead of twenty
#   --only a,b         of first-token, blast, short, plain, slow, faulty, leave, made-up, translate; the page then has no more than these
#   --page FILE        write another page than docs/benchmarks.md
#
# Needs two cores, Linux, and nginx, which is installed from the system's packages if it is missing.
# A lost, doubled or changed event fails the run. Results as JSON lines: target/bench/runs.jsonl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
bin=$target_dir/release
work=$target_dir/bench
runs=$work/runs.jsonl
page=docs/benchmarks.md
quick='' only=first-token,blast,short,plain,slow,faulty,leave,made-up,translate
key=sk-bench
under_test=1 around=0 # cores
provider=''           # its address: each run of the load generator plays it anew
operators=''          # where the process in front of it shows its metrics, if it does
front=''              # the process in front of it
targets=(direct nginx none interval always memory)

usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
say() { printf '%s\n' "$*" >&2; }
die() { say "bench: $*"; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=yes ;;
    --only) only=${2:?}; shift ;;
    --page) page=${2:?}; shift ;;
    *) usage ;;
  esac
  shift
done

stop() { # stop PID: at once, as nothing it holds is wanted
  [ -n "$1" ] || return 0
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
# nginx goes by SIGTERM, so that its master takes the worker along.
stop_front() {
  [ "$(cat "$work/front" 2>/dev/null)" != nginx ] || { kill -TERM "$front" 2>/dev/null && wait "$front" 2>/dev/null; } || true
  stop "$front"
  front=''
  rm -rf "$work/front" "$work/data"
}
trap stop_front EXIT
trap 'exit 130' INT TERM HUP

prepare() {
  [ "$(nproc)" -ge 2 ] || die "two cores are needed"
  ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  [ "$(ulimit -n)" -ge 19000 ] || die "9,000 streams need 19,000 open files: raise ulimit -n, now $(ulimit -n)"
  command -v nginx >/dev/null || install_nginx
  cargo build --release -p everstream -p everstream-testkit --bins
  mkdir -p "$work" && rm -f "$runs"
}
install_nginx() {
  local sudo=''
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  say "nginx is missing; installing it"
  $sudo apt-get update -q >/dev/null && $sudo apt-get install -q -y --no-install-recommends nginx-light >/dev/null ||
    die "nginx could not be installed; install it and run this again"
}
# Below the range that the system gives out by itself.
ports() { shuf -i 20000-29999 -n 20; }
free() { # an address that nobody listens on
  local port
  for port in $(ports); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "127.0.0.1:$port"; return; }
  done
}
# line FILE PATTERN PID: the group of the first line that matches, as soon as it is there.
line() {
  local found
  for _ in $(seq 200); do
    found=$(sed -nE "s#$2#\1#p" "$1" | head -n1)
    [ -z "$found" ] || { echo "$found"; return; }
    kill -0 "$3" 2>/dev/null || break
    sleep 0.05
  done
  cat "$1" >&2
  die "no line in $1 matches $2"
}
# Each start_ sets front (the process to end), pid (the one to measure) and addr.
start_direct() { front='' pid='' addr=''; }
start_nginx() {
  local port
  for port in $(ports); do
    nginx_conf "$port" >"$work/nginx.conf"
    taskset -c "$under_test" nginx -e "$work/nginx.log" -c "$work/nginx.conf" 2>"$work/nginx.err" &
    front=$!
    echo nginx >"$work/front"
    for _ in $(seq 100); do
      pid=$(pgrep -P "$front" | head -n1) || true
      [ -z "$pid" ] || { addr=127.0.0.1:$port; return; }
      kill -0 "$front" 2>/dev/null || break
      sleep 0.02
    done
    stop "$front"
  done
  cat "$work/nginx.err" >&2
  die "nginx does not start"
}
nginx_conf() { # PORT
  cat <<CONF
daemon off; worker_processes 1; worker_rlimit_nofile $(ulimit -n); pid $work/nginx.pid;
events { worker_connections 32768; }
http {
  access_log off;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  keepalive_requests 10000000;
  upstream provider { server $provider; keepalive 512; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:$1 backlog=4096;
    location / {
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$host;
      proxy_buffering off; proxy_read_timeout 1h;
    }
  }
}
CONF
}
start_everstream() { # BACKEND SYNC [MORE CONFIGURATION [AND WHAT COMES FIRST]]
  rm -rf "$work/data"
  "${4:-true}" >"$work/everstream.toml"
  cat >>"$work/everstream.toml" <<CONF
listen = "127.0.0.1:0"
data_dir = "$work/data"
telemetry.level = "warn"
log = { backend = "$1", sync = "$2" }
[[upstreams]]
name = "provider"
base_url = "http://$provider/v1"
api_key = "sk-provider"
CONF
  "${3:-true}" >>"$work/everstream.toml"
  env -i PATH="$PATH" TOKIO_WORKER_THREADS=1 EVERSTREAM_API_KEYS="$key" \
    taskset -c "$under_test" "$bin/everstream" serve --config "$work/everstream.toml" 2>"$work/everstream.log" &
  front=$! pid=$!
  addr=$(line "$work/everstream.log" '.*listening on http://(127\.0\.0\.1:[0-9]+).*' "$front")
}
# Ten upstreams, one provider behind them, and routes over all of them for two models.
routes() {
  local model n
  for n in 0 1 2 3 4 5 6 7 8 9; do
    printf '[[upstreams]]\nname = "u%s"\nbase_url = "http://%s/u%s/v1"\napi_key = "sk-provider"\n' "$n" "$provider" "$n"
    printf 'models = ["none"]\nfirst_event_timeout = "500ms"\n'
  done
  for model in bench-2-0 bench-20-1; do
    printf '[[routes]]\nmodel = "%s"\nstrategy = "least_busy"\n' "$model"
    for n in 0 1 2 3 4 5 6 7 8 9; do printf '[[routes.deployments]]\nupstream = "u%s"\n' "$n"; done
  done
}
# Metrics, a proxy that is trusted, and a key of the database.
watched() { printf 'trusted_proxies = ["127.0.0.1"]\nadmin.listen = "%s"\n' "$operators"; }
start_watched() {
  operators=$(free)
  start_everstream disk interval true watched
  key=$("$bin/everstream" keys create --url "http://$operators" --project bench --create-project --name bench)
}
start() { # TARGET
  case $1 in
    flood-*) start_watched ;;
    routed) start_everstream disk interval routes ;;
    direct | nginx) "start_$1" ;;
    memory) start_everstream memory none ;;
    *) start_everstream disk "$1" ;;
  esac
}

# measure ROUND TARGET NAME OPTIONS -- SCENARIO...
measure() {
  local round=$1 target=$2 name=$3 options=()
  shift 3
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  start "$target"
  case $target in direct | nginx) ;; *) options+=(--ids --key "$key") ;; esac
  [ -z "$pid" ] || options+=(--pid "$pid")
  say "round $round, $name: $*"
  case $target in flood-*) set -- "$@" --operators "$operators" ;; esac
  taskset -c "$around" "$bin/load" run --target "$name" --round "$round" --provider "$provider" ${addr:+--addr "$addr"} \
    "${options[@]}" "$@" >>"$runs" || { tail -n 5 "$work/everstream.log" >&2; die "$name failed: $*"; }
  stop_front
}
name() { case $1 in direct | nginx) echo "$1" ;; routed) echo "Everstream, interval, a route of ten" ;; *) echo "Everstream, $1" ;; esac; }
everyone() { # ROUND SCENARIO...
  local target
  for target in "${targets[@]}"; do measure "$1" "$target" "$(name "$target")" -- "${@:2}"; done
}
leavers() { # ROUND TOKENS
  local policy
  measure "$1" nginx nginx -- leave --tokens "$2"
  for policy in cancel continue; do
    measure "$1" interval "Everstream, on_disconnect = $policy" --on-disconnect "$policy" -- leave --tokens "$2"
  done
}
made_up() { # ROUND SECONDS
  local key flood about
  for flood in health one-address many-addresses; do
    case $flood in
      health) about='/healthz, for comparison' ;;
      one-address) about='made-up keys, all from the address of the good one' ;;
      many-addresses) about='made-up keys, each from another address' ;;
    esac
    measure "$1" "flood-$flood" "$about" -- beside --flood "$flood" --seconds "$2"
  done
}
wanted() { [[ ,$only, == *,$1,* ]]; }

# round NUMBER REQUESTS TOKENS SECONDS SLOW_SECONDS LEAVE_TOKENS
round() {
  local n=$1 per_write clients streams
  ! wanted first-token || everyone "$n" first-token --requests "$2"
  if wanted blast; then
    for per_write in 1 8; do
      everyone "$n" blast --per-write "$per_write" --tokens $(($3 * (per_write == 8 ? 3 : 1)))
    done
    everyone "$n" blast --window 0 --tokens $(($3 * 2))
  fi
  if wanted short; then
    everyone "$n" short --seconds "$4"
    # What it costs to choose among ten, and to keep count of them.
    measure "$n" routed "$(name routed)" -- short --seconds "$4"
  fi
  if wanted faulty; then
    for faulty in 0 1 5; do measure "$n" routed "$(name routed)" -- faulty --upstreams "$faulty" --seconds $(($5 + 2)); done
  fi
  if wanted plain; then
    for clients in 1 16 64 256; do everyone "$n" plain --clients "$clients" --seconds "$4"; done
  fi
  if wanted slow; then
    for streams in 1000 5000 9000; do everyone "$n" slow --streams "$streams" --seconds "$5"; done
  fi
  ! wanted leave || leavers "$n" "$6"
  ! wanted made-up || made_up "$n" $(($5 * 3))
}
about() { # SECONDS
  cat <<ABOUT
- $(date -u +%Y-%m-%d), commit $(git describe --always --dirty 2>/dev/null || echo unknown), $1 s${quick:+, one short round (\`--quick\`)}
- $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo); Linux $(uname -r)
- load average over the last 15 minutes: $(cut -d' ' -f3 /proc/loadavg)
- the log on $(df --output=fstype "$work" | tail -n1); $(nginx -v 2>&1 | sed 's/.*: //'); $(rustc --version | cut -d' ' -f1,2)
ABOUT
}

prepare
provider=$(free)
begun=$SECONDS
if [ -n "$quick" ]; then
  round 1 300 1500 0.7 2 40
else
  for n in 1 2 3; do round "$n" 2000 3000 2 4 100; done
fi
if wanted translate; then
  rounds=25
  [ -z "$quick" ] || rounds=5
  say "translation, $rounds rounds"
  taskset -c "$under_test" "$bin/load" translate --rounds "$rounds" >>"$runs"
fi
about $((SECONDS - begun)) >"$work/about"
"$bin/load" report --runs "$runs" --about "$work/about" --page "$page"
say "bench: written to $page"
