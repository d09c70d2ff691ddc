#!/usr/bin/env bash
# debian.sh PURPOSE PACKAGE...: installs Debian packages where it may; elsewhere says in one line what to type, and
# fails.
set -euo pipefail

purpose=$1
shift
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "turnpike: $purpose is missing: installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # The first try is for a machine whose lists are fresh; a machine never updated has none.
    if ! apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
        apt-get update >"$log" 2>&1 </dev/null || true
        if ! apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
            tail -n 5 "$log" >&2
            echo "turnpike: apt-get could not install $*; install it by hand, then run this again" >&2
            exit 1
        fi
    fi
else
    echo "turnpike: $purpose is missing; run: sudo apt-get install -y $*" >&2
    exit 1
fi
