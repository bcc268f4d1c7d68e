#!/usr/bin/env bash
# Runs the tests, installing what they need, and sums them up on the last line.
#
#   scripts/test.sh [rust] [sim] [clients] [faults] [fuzz] [model]      all of them by default
#
# Needs Rust, Python 3.11, Node 20.3 and the package registries. Exit code: 0 when nothing failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
passed=0 failed=0 skipped=0
mkdir -p "$target"
output=$(mktemp)
child=''
trap 'rm -f "$output"' EXIT
trap interrupted INT TERM HUP

# SIGINT, so that the test runners still stop what they started.
interrupted() {
  trap '' INT TERM HUP
  [ -z "$child" ] || { kill -INT -- "-$child" 2>/dev/null; wait "$child"; }
  exit 130
}
heading() { printf '\n== %s\n' "$*"; }
skip() { printf 'SKIPPED: %s\n' "$*"; skipped=$((skipped + 1)); }
fail() { printf 'FAILED: %s\n' "$*"; failed=$((failed + 1)); }

# run COMMAND...: shows and keeps the output. In a process group of its own, so that a signal ends all of it.
run() {
  local code=0
  set -m
  { "$@" </dev/null 2>&1 | tee "$output"; exit "${PIPESTATUS[0]}"; } &
  child=$!
  set +m
  wait "$child" || code=$?
  child=''
  return "$code"
}
# sum PATTERN: the sum of the numbers in what the pattern matches in the output.
sum() { grep -oE "$1" "$output" | grep -oE '[0-9]+' | awk '{ n += $1 } END { print n + 0 }'; }
# count NAME CODE PASSED FAILED SKIPPED: a command that failed before it counted anything is a failure.
count() {
  local bad=$4
  [ "$2" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  passed=$((passed + $3)) failed=$((failed + bad)) skipped=$((skipped + $5))
  printf '%s: %d passed, %d failed, %d skipped\n' "$1" "$3" "$bad" "$5"
}
check() {
  heading "$*"
  if run "$@"; then passed=$((passed + 1)); else fail "$*"; fi
}

# Tests that need a server are ignored, and so counted as skipped, where none can be had.
cargo_tests() {
  local code=0 server beside=() ignored=(--include-ignored)
  heading "cargo test --workspace"
  for server in postgres vault; do
    code=0
    "scripts/$server.sh" true || code=$?
    case $code in
      0) beside+=("scripts/$server.sh") ;;
      77) printf 'SKIPPED: what needs scripts/%s.sh\n' "$server" ;;
      *)
        fail "scripts/$server.sh cannot start a server"
        return
        ;;
    esac
  done
  code=0
  case ${beside[*]} in
    *postgres*vault*) ;;
    *postgres*) ignored+=(--skip a_real_vault) ;;
    *) ignored=() ;;
  esac
  run "${beside[@]}" cargo test --workspace --no-fail-fast -- "${ignored[@]}" || code=$?
  count "cargo test" "$code" "$(sum '[0-9]+ passed;')" "$(sum '[0-9]+ failed;')" "$(sum '[0-9]+ ignored;')"
}
pytest_in() {
  local code=0
  heading "pytest $1"
  run "$target/venv/bin/python" -m pytest -p no:cacheprovider "$1" || code=$?
  sed -i '$!d' "$output"
  count "pytest $1" "$code" "$(sum '[0-9]+ passed')" "$(sum '[0-9]+ (failed|error)')" "$(sum '[0-9]+ skipped')"
}
node_tests() {
  local code=0
  heading "node --test $1"
  run env -C "$1" node --test --test-reporter=spec || code=$?
  count "node --test $1" "$code" "$(sum ' pass [0-9]+$')" "$(sum ' (fail|cancelled) [0-9]+$')" "$(sum ' skipped [0-9]+$')"
}

need() {
  local tool
  for tool in "$@"; do command -v "$tool" >/dev/null || { fail "$tool is not installed"; return 1; }; done
}
build_binaries() {
  heading "cargo build of the binaries under test"
  run cargo build -p everstream -p everstream-testkit --bins || { fail "cargo build"; return 1; }
}
python_packages() {
  local wanted=tests/requirements.txt have=$target/venv/requirements.txt
  cmp -s "$wanted" "$have" && return
  heading "Python packages into $target/venv"
  run python3 -m venv --clear "$target/venv" &&
    run "$target/venv/bin/python" -m pip install -q --disable-pip-version-check -r "$wanted" &&
    cp "$wanted" "$have" || { fail "the Python packages of $wanted"; return 1; }
}
node_packages() {
  local stamp=$1/node_modules/.package-lock.installed
  cmp -s "$1/package-lock.json" "$stamp" && return
  heading "Node packages of $1"
  run npm ci --prefix "$1" --no-audit --no-fund --loglevel=error &&
    cp "$1/package-lock.json" "$stamp" || { fail "the Node packages of $1"; return 1; }
}

section_rust() {
  need cargo || return
  check cargo fmt --all --check
  check cargo clippy --workspace --all-targets -- -D warnings
  cargo_tests
}
section_sim() {
  local code=0 sim=(--locked --manifest-path sim/Cargo.toml)
  need cargo || return
  check cargo fmt --manifest-path sim/Cargo.toml --check
  check cargo clippy "${sim[@]}" --all-targets -- -D warnings
  heading "schedules of the simulation"
  run cargo run "${sim[@]}" -- --seeds 1..500 || code=$?
  count "simulation" "$code" "$(sum '[0-9]+ passed;')" "$(sum '[0-9]+ failed')" 0
}
section_clients() {
  need cargo python3 node npm curl || return
  node_packages clients/node && node_tests clients/node
  python_packages || return
  pytest_in clients/python
  node_packages tests/clients && build_binaries && pytest_in tests/clients
}
section_faults() {
  local code=0
  need cargo python3 || return
  heading "toxiproxy"
  run scripts/toxiproxy.sh || code=$?
  if [ "$code" -eq 77 ]; then skip "faults on a TCP link: toxiproxy cannot be had here"; return; fi
  [ "$code" -eq 0 ] || { fail "scripts/toxiproxy.sh"; return; }
  TOXIPROXY=$(tail -1 "$output")
  export TOXIPROXY
  python_packages && build_binaries && pytest_in tests/toxiproxy
}
section_fuzz() {
  if [ -x fuzz/run.sh ]; then check fuzz/run.sh 10; else skip "fuzzing: fuzz/run.sh is not there"; fi
}
section_model() {
  need cargo python3 node npm curl || return
  python_packages && build_binaries && pytest_in tests/model
}

[ $# -gt 0 ] || set -- rust sim clients faults fuzz model
for section in "$@"; do
  case $section in
    rust | sim | clients | faults | fuzz | model) "section_$section" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
