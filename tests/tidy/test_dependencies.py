"""The locks hold what pyproject.toml declares, each with hashes, and torch stands in none of them."""

from __future__ import annotations

import re
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.repository import ROOT, settings

PROJECT: Final = settings()["project"]
EXTRAS: Final = ("semantic", "all", "dev")
LOCKS: Final = ("base", *EXTRAS, "build")
# What only torch brings.
APART: Final = re.compile(r"^(torch|torchvision|torchaudio|triton|pytorch-triton|nvidia-.*|cuda-.*|vllm)$")


def locked(lock: str) -> dict[str, set[str]]:
    """The versions that a lock names for each package; there may be several, each for some of the Pythons."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{lock}.lock").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;]+)", line):
            versions.setdefault(canonicalize_name(found[1]), set()).add(found[2])
    return versions


def declared(extra: str) -> list[Requirement]:
    written = PROJECT["dependencies"] if extra == "base" else PROJECT["optional-dependencies"][extra]
    requirements = []
    for line in written:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == PROJECT["name"]:  # an extra made of other extras
            requirements += [inner for name in sorted(requirement.extras) for inner in declared(name)]
        else:
            requirements.append(requirement)
    return requirements


@pytest.mark.parametrize("extra", ["base", *EXTRAS])
def test_a_lock_holds_what_is_declared_at_a_version_that_fits(extra: str) -> None:
    versions = locked(extra)
    for requirement in declared("base") + (declared(extra) if extra != "base" else []):
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"requirements/{extra}.lock lacks {requirement.name}; run: make lock"
        assert all(requirement.specifier.contains(version) for version in found), f"{requirement}: run: make lock"
        for part in requirement.extras:
            assert f"{canonicalize_name(requirement.name)}-{part}" in versions, f"{requirement}: run: make lock"


@pytest.mark.parametrize("lock", [*EXTRAS, "build"])
def test_locks_agree_on_the_version_of_what_they_share(lock: str) -> None:
    others = locked("dev") if lock == "build" else locked("base")
    versions = locked(lock)
    assert {name: versions[name] for name in versions.keys() & others.keys() if versions[name] != others[name]} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_names_a_hash(lock: str) -> None:
    requirements = re.split(r"\n(?=\w)", (ROOT / "requirements" / f"{lock}.lock").read_text().strip())
    assert len(requirements) == sum(len(versions) for versions in locked(lock).values()) > 0
    assert [text.partition(" ")[0] for text in requirements if "--hash=sha256:" not in text] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_torch_and_what_only_torch_brings_stand_in_no_lock(lock: str) -> None:
    assert [name for name in locked(lock) if APART.match(name)] == []


def test_the_base_is_light() -> None:
    heavy = {"numpy", "transformers", "sentence-transformers", "faiss-cpu", "litellm", "openai", "playwright"}
    assert heavy & locked("base").keys() == set()


def test_what_builds_the_project_is_locked_at_the_version_that_the_build_asks_for() -> None:
    assert settings()["build-system"]["requires"] == [f"hatchling=={''.join(locked('build')['hatchling'])}"]
