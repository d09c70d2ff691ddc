"""Puts compiled modules into the wheel where TURNPIKE_COMPILE=1 asks for it; the sources stay beside them.

Nothing compiled ever lies in the source tree: the work is done in a copy of it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("gateway", "routing", "cache", "billing", "local_backend")


class CompileHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("TURNPIKE_COMPILE") != "1":  # noqa: TID251
            return
        self.folder = Path(tempfile.mkdtemp(prefix="turnpike-compile-"))
        for package in PACKAGES:
            ignore = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(Path(self.root, package), self.folder / package, ignore=ignore)
        script = Path(self.root, "requirements", "compile.py")
        subprocess.run([sys.executable, str(script), str(self.folder), *self.config["modules"]], check=True)
        libraries = [file.relative_to(self.folder) for file in self.folder.rglob("*.so") if "build" not in file.parts]
        build_data["force_include"].update({str(self.folder / file): str(file) for file in libraries})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)
