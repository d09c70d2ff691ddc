#!/usr/bin/env bash
# install.sh FOLDER [compiled]: puts this project into the environment FOLDER, with the modules that requests run through
# compiled where this machine can, and plain where it cannot or TURNPIKE_COMPILE=0 says so; `compiled` fails then
# instead. Does nothing when FOLDER holds these very sources already. Nothing compiled lands in the source tree.
set -euo pipefail

folder=$1
must=${2:-}
cd "$(dirname "$0")/.."
pip() { "$folder/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

if [ "${TURNPIKE_COMPILE:-1}" = 0 ]; then
    why="TURNPIKE_COMPILE=0"
else
    why=$("$folder/bin/python" requirements/compile.py --missing)
fi
sources=(gateway routing cache billing local_backend migrations requirements hatch_build.py pyproject.toml README.md)
state() {
    {
        "$folder/bin/python" -VV
        echo "$lacking"
        find "${sources[@]}" -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d ' ' -f 1
}
lacking=$why
fingerprint=$(state)
holds=$(cat "$folder/holds" 2>/dev/null || true)
if [ "$holds" = "$fingerprint compiled" ] || { [ "$holds" = "$fingerprint plain" ] && [ -z "$must" ]; }; then
    exit 0
fi

# Sources that changed under the compiler's hands must not pass for what they were.
changed=""
unchanged() {
    [ "$(state)" = "$fingerprint" ] || { changed=yes && return 1; }
}
# wheel HOW: builds the wheel of these sources, and keeps it for the next environment.
wheels=.cache/wheels
wheel() {
    rm -rf "$wheels/new.$$" && mkdir -p "$wheels/new.$$" \
        && pip -q wheel --no-deps --no-build-isolation --wheel-dir "$wheels/new.$$" . \
        && unchanged \
        && rm -rf "$wheels/$fingerprint-$1" && mv "$wheels/new.$$" "$wheels/$fingerprint-$1"
}
# mypy and setuptools, for this Python: in a folder of their own, since the gateway needs neither.
compiled_wheel() {
    local tools
    tools=$("$folder/bin/python" -VV | cat - requirements/compile.lock | sha256sum)
    tools=$PWD/.cache/compile-tools/${tools%% *}
    if [ ! -e "$tools/complete" ]; then
        rm -rf "$tools" && mkdir -p "$tools" \
            && pip -q install --target "$tools" --require-hashes --no-deps -r requirements/compile.lock \
            && touch "$tools/complete" || return 1
    fi
    PYTHONPATH=$tools TURNPIKE_COMPILE=1 wheel compiled
}

build=compiled
if [ -z "$why" ] && [ ! -e "$wheels/$fingerprint-compiled" ]; then
    echo "turnpike: compiling what requests run through, half a minute or so (TURNPIKE_COMPILE=0 leaves it out)"
    mkdir -p .cache
    compiled_wheel >.cache/compile.log 2>&1 || why="compiling failed, .cache/compile.log says how"
fi
if [ -n "$changed" ]; then
    echo "turnpike: the sources have changed meanwhile: once more"
    exec requirements/install.sh "$folder" $must
fi
if [ -n "$why" ]; then
    if [ -n "$must" ]; then
        echo "turnpike: cannot compile: $why" >&2
        exit 1
    fi
    echo "turnpike: not compiled ($why): everything works, more slowly"
    build=plain
    [ -e "$wheels/$fingerprint-plain" ] || TURNPIKE_COMPILE=0 wheel plain
fi
pip -qq install --no-deps --force-reinstall "$wheels/$fingerprint-$build"/*.whl
echo "$fingerprint $build" >"$folder/holds"
