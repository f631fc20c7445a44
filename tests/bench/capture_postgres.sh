#!/bin/bash
# Builds capture_postgres against a preset's libraries: capture_postgres.sh [PRESET] -> its path
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd) preset=${1:-release}
cmake --build "$root/build/$preset" --target firn_capture firn_capture_postgres >&2
out=$root/build/$preset/capture_postgres
sanitize=$(sed -n 's/^FIRN_SANITIZE:STRING=\(.\)/-fsanitize=\1/p' "$root/build/$preset/CMakeCache.txt")
cc -std=gnu17 -O2 -g -D_GNU_SOURCE $sanitize -I"$root" "$root/tests/bench/capture_postgres.c" -o "$out" \
    -L"$root/build/$preset/agent/capture" -L"$root/build/$preset/agent/capture/postgres" \
    -L"$root/build/$preset/agent/record" -L"$root/build/$preset/common" \
    -Wl,--start-group -lfirn_capture -lfirn_capture_postgres -lfirn_record -lfirn_common \
    -Wl,--end-group -lpq -lssl -lcrypto -lpthread
echo "$out"
