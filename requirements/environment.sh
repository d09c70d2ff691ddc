#!/usr/bin/env bash
# environment.sh FOLDER [LOCK [HOW]]: a virtual environment that holds exactly what requirements/LOCK.lock names, and this
# project. Does nothing when the environment already holds that. Without LOCK it stays what it is, at first base; PYTHON
# picks the interpreter. HOW is `editable` (the source tree itself, as developers want it), `installed` (a copy, compiled
# where this machine can) or `compiled` (or else it fails); the lock `dev` is editable unless told otherwise.
set -euo pipefail

folder=$1
cd "$(dirname "$0")/.."
lock=${2:-$(cat "$folder/made-of" 2>/dev/null || echo base)}
how=${3:-installed}
if [ "$lock" = dev ] && [ $# -lt 3 ]; then
    how=editable
fi
install_project() {
    case $how in
        editable) ;;
        compiled) requirements/install.sh "$folder" compiled ;;
        *) requirements/install.sh "$folder" ;;
    esac
}

python=${PYTHON:-}
if [ -z "$python" ] && "$folder/bin/python" -c '' 2>/dev/null; then
    python=$(cat "$folder/made-with" 2>/dev/null) || true
fi
if [ -z "$python" ] && [ "$folder" = .venv ]; then
    python=$(requirements/quickest.sh)  # the one that serves
fi
if [ -z "$python" ]; then
    found=$(requirements/pythons.sh)
    found=${found%%$'\n'*}
    python=${found#* }
fi
if [ -z "$python" ]; then
    echo "turnpike: no Python 3.11 or newer found; run: sudo apt-get install -y python3 python3-venv," \
        "or name one: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "turnpike: $python is not a working Python 3.11 or newer; name another: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

# Whatever the environment was made from; its path too, since the programs in it name it.
fingerprint=$(
    {
        pwd
        echo "$how"
        "$python" -VV
        cat "requirements/$lock.lock" requirements/build.lock "$0"
        sed -n '/^\[build-system\]/,/^\[tool\./p' pyproject.toml
    } | sha256sum
)
if [ "$(cat "$folder/made-from" 2>/dev/null)" = "$fingerprint" ]; then
    install_project
    exit 0
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
    requirements/debian.sh "the venv module of $python" "python$version-venv"
fi
echo "turnpike: making $folder with $("$python" -V) from requirements/$lock.lock"
"$python" -m venv --clear "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check -qq --no-input "$@"; }
case $lock in
    semantic | all)
        # First and by itself: which build suits the machine is for its pip to find (README).
        echo "turnpike: installing torch, which may take minutes"
        pip install torch==2.13.0
        ;;
esac
pip install --require-hashes --no-deps -r requirements/build.lock
pip install --require-hashes --no-deps -r "requirements/$lock.lock"
if [ "$how" = editable ]; then
    pip install --no-deps --no-build-isolation --editable .
fi
install_project
pip check >/dev/null || { "$folder/bin/python" -m pip check >&2; exit 1; }
# What was unpacked reaches the disk now, rather than hold up the journals of the tests that come next.
sync -f "$folder" 2>/dev/null || true
echo "$python" >"$folder/made-with"
echo "$lock" >"$folder/made-of"
echo "$fingerprint" >"$folder/made-from"
