#!/usr/bin/env bash
# pythons.sh: prints "VERSION PATH" of each working Python from 3.11 on, one line a version, the preferred one first.
set -euo pipefail

ask='import sys; v = sys.version_info; v >= (3, 11) and print(f"{v[0]}.{v[1]}", sys.executable)'
seen=" "
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.15 \
    /usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3.1[1-9] \
    "${HOME:-/nonexistent}"/.pyenv/versions/3.1[1-9]*/bin/python3; do
    # A version manager's placeholder is on the PATH but does not run: only an answer counts.
    found=$("$candidate" -c "$ask" 2>/dev/null </dev/null) || continue
    version=${found%% *}
    if [ -n "$found" ] && [[ $seen != *" $version "* ]]; then
        seen+="$version "
        echo "$found"
    fi
done
