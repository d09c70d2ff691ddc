#!/usr/bin/env bash
# quickest.sh: prints the path of the Python from 3.11 on that runs plain code fastest here. How an interpreter was built
# (profile-guided or not, static or shared) makes more of a difference than its version: 20 % and more of a request.
set -euo pipefail

time_it='
import sys, time
if sys.version_info < (3, 11): sys.exit(1)
class Thing:
    kind = "thing"
    def __init__(self, size): self.size = size; self.parts = {}
    def take(self, name, size): self.parts[name] = size; return self.size + len(self.parts)
def work():
    total = 0
    for number in range(4000):
        thing = Thing(number)
        for name in ("a", "b", "c"): total += thing.take(name, number)
    return total
best = 9e9
for _ in range(9):
    start = time.perf_counter(); work(); best = min(best, time.perf_counter() - start)
print(int(best * 1e9), sys.executable)
'
able='import ensurepip, venv'
seen=" "
best=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.15 \
    /usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3.1[1-9] \
    "${HOME:-/nonexistent}"/.pyenv/versions/3.1[1-9]*/bin/python3; do
    real=$("$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null </dev/null) || continue
    [[ $seen == *" $real "* ]] && continue
    seen+="$real "
    # Debian ships venv apart; root may install it, others cannot use that interpreter.
    "$candidate" -c "$able" 2>/dev/null </dev/null || { [ "$(id -u)" = 0 ] && [[ $real == /usr/bin/* ]]; } || continue
    timed=$("$candidate" -c "$time_it" 2>/dev/null </dev/null) || continue
    if [ -z "$best" ] || [ "${timed%% *}" -lt "${best%% *}" ]; then
        best=$timed
    fi
done
[ -z "$best" ] || echo "${best#* }"
