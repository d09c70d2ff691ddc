"""What holds for every test: services come from `fixtures/services.py`, and no test is passed over silently."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.tidy.repository import ROOT, settings

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = [
    "tests.fixtures.books",
    "tests.fixtures.figures",
    "tests.fixtures.kinds",
    "tests.fixtures.services",
    "tests.e2e.fixtures",
]

# Examples a property is given where it asks for no number of its own: half of Hypothesis's in the fast tests.
EXAMPLES_FAST = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="properties get all of their examples, in the fast tests too")
    parser.addoption("--compiled", action="store_true", help="the compiled build is under test, not the source tree")


def pytest_configure(config: pytest.Config) -> None:
    """The tests of one build must not pass on the other."""
    wanted = "compiled" if config.getoption("--compiled") else "source"
    found = {name: build_of(name) for name in hot_modules()}
    wrong = sorted(name for name, build in found.items() if build != wanted)
    if wrong:
        raise pytest.UsageError(f"under test should be the {wanted} build, but {', '.join(wrong)} are not of it")
    # No deadline for one example: a busy machine is no fault of the code's.
    hypothesis.settings.register_profile("whole", deadline=None)
    hypothesis.settings.register_profile("fast", deadline=None, max_examples=EXAMPLES_FAST)
    hypothesis.settings.load_profile(
        "fast" if "not slow" in config.getoption("markexpr") and not config.getoption("--whole") else "whole"
    )


def hot_modules() -> list[str]:
    hooks: dict[str, list[str]] = settings()["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    return hooks["modules"]


def build_of(module: str) -> str:
    spec = find_spec(module)
    file = Path(spec.origin) if spec is not None and spec.origin is not None else Path()
    if file.name.endswith(tuple(EXTENSION_SUFFIXES)):
        return "compiled"
    return "source" if file == ROOT.joinpath(*module.split(".")).with_suffix(".py") else f"other ({file})"


def has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What this machine or this build cannot do is left out; pytest counts it as deselected."""
    out = {*(() if has_gpu() else ("gpu",)), *(("source",) if config.getoption("--compiled") else ())}
    needing = [item for item in items if any(item.get_closest_marker(name) for name in out)]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped":
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else vars(report).pop("wasxfail", "")
        report.longrepr = f"no test may be skipped: bring what it needs, or delete it ({reason})"


# First of all wrappers, so that it sees what the others made of the outcome.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
