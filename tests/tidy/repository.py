"""What the tidy tests look at: the files of the repository, as git sees them."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SIBLINGS: Final = ("routing", "cache", "billing", "local_backend")
PACKAGES: Final = ("gateway", *SIBLINGS)


def files() -> list[Path]:
    """Every file that is committed or about to be, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()})


def modules() -> list[Path]:
    return [file for file in files() if file.suffix == ".py"]


def dotted(module: Path) -> str:
    parts = module.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def importable_modules(*packages: str) -> list[str]:
    """Names of the packages' modules, less the ones that are programs."""
    return [dotted(file) for file in modules() if file.parts[0] in packages and file.stem != "__main__"]


def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
