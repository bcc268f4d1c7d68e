#!/bin/sh
# Builds the fuzz targets with stable Rust and runs each for a while; fails on the first crash, whose
# input is then in fuzz/artifacts. Usage: fuzz/run.sh [seconds per target] [target ...]
set -eu
cd "$(dirname "$0")"
seconds=${1:-30}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- sse http1 record config envelope answer auth
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz passes, but for the sanitizers, which need a nightly compiler; the code under test
# has no unsafe. With --target, build scripts and macros stay uninstrumented.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
# Its own directory: the flags above would rebuild everything in a shared one.
cargo build --release --locked --target "$host" --target-dir target

for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "fuzzing $target for $seconds s"
    "target/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target"
done
