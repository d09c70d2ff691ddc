"""What the rooms' tests share: a model behind the fake vLLM or the real one, and a supervisor around it."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from local_backend.supervisor import Limits, LocalModel, Supervisor
from tests.fixtures.vllm import TINY_ARGS, tiny_model, vllm_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_backend.flags import Argument

__all__ = ["tiny_model", "vllm_environment"]

FAKE: Final = (sys.executable, str(Path(__file__).with_name("fake_vllm.py")), "serve")

# A hundredth of the real waits, so that a test sees them end.
QUICK: Final = Limits(
    start_silence_s_max=5,
    start_probe_pause_s=0.02,
    first_answer_s_max=5,
    probe_pause_s=0.05,
    probe_s_max=1,
    canary_pause_s=0.2,
    canary_s_max=1,
    drain_s_max=5,
    stop_s_max=5,
    kill_s_max=5,
    steady_s_min=0,
)


@dataclass(frozen=True, slots=True)
class Backend:
    """A vLLM and a model for it; `supervisor` gives one whose clock stands still and whose dice show nought."""

    command: tuple[str, ...]
    model: LocalModel
    directory: Path
    limits: Limits
    up_s_max: float

    def supervisor(self, *models: LocalModel, limits: Limits | None = None, **more: Any) -> Supervisor:
        return Supervisor(
            models or (self.model,),
            self.command,
            self.directory,
            device="cpu",
            environ=dict(os.environ),  # noqa: TID251
            clock=lambda: 0,
            draw=lambda: 0.0,
            limits=limits or self.limits,
            **more,
        )

    def with_args(self, **args: "Argument") -> "Backend":
        chosen: Mapping[str, Argument] = {**self.model.args, **args}
        return replace(self, model=replace(self.model, args=chosen))


@pytest.fixture
def fake(tmp_path: Path) -> Backend:
    model = LocalModel("tiny", "a/model", args={"fake-diary": str(tmp_path / "diary")})
    return Backend(FAKE, model, tmp_path, QUICK, up_s_max=10)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """The same promises are asked of both, so that the fake cannot drift from the real one."""
    if request.param == "fake":
        made: Backend = request.getfixturevalue("fake")
        return made
    program: Path = request.getfixturevalue("vllm_environment")
    folder: Path = request.getfixturevalue("tiny_model")
    limits = Limits(canary_pause_s=2, canary_s_max=3)
    return Backend((str(program), "serve"), LocalModel("tiny", str(folder), args=TINY_ARGS), tmp_path, limits, 120)
