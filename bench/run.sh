#!/usr/bin/env bash
# make bench: compares Turnpike with nginx, LiteLLM and no gateway. Flags: run.sh --help.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python=$root/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3) || { echo "bench: no python3: apt-get install -y python3" >&2; exit 1; }
exec "$python" -m bench.run "$@"
