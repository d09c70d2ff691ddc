"""How a model's configuration becomes vLLM's command line and environment."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_backend.flags import OURS, Argument, LocalModel, flag, refusal, serve_command, serve_environment

COMMAND = ("/opt/vllm/bin/vllm", "serve")
NAMES = st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True).filter(lambda name: name not in OURS)
SCALARS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1) | st.integers() | st.booleans()


def command(**args: Argument) -> list[str]:
    model = LocalModel("small", "Qwen/Qwen3-8B", args={name.replace("_", "-"): value for name, value in args.items()})
    return list(serve_command(COMMAND, model, 4321, "cuda"))


def test_the_command_names_the_model_and_keeps_it_on_this_machine() -> None:
    line = command()
    assert line[:3] == [*COMMAND, "Qwen/Qwen3-8B"]
    for option, value in (("--served-model-name", "small"), ("--host", "127.0.0.1"), ("--port", "4321")):
        assert line[line.index(option) + 1] == value


def test_open_streams_may_finish_and_cached_tokens_are_told_unless_the_user_says_otherwise() -> None:
    assert "--enable-prompt-tokens-details" in command()
    assert command()[command().index("--shutdown-timeout") + 1] == "30"
    changed = command(shutdown_timeout=5, enable_prompt_tokens_details=False)
    assert changed[changed.index("--shutdown-timeout") + 1] == "5"
    assert "--no-enable-prompt-tokens-details" in changed
    assert "--enable-prompt-tokens-details" not in changed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ("--some-flag",)),
        (False, ("--no-some-flag",)),
        (8192, ("--some-flag", "8192")),
        (0.9, ("--some-flag", "0.9")),
        ("256M", ("--some-flag", "256M")),
        ("-1", ("--some-flag=-1",)),
        (["a", 2], ("--some-flag", "a", "2")),
        ({"a": [1, True]}, ("--some-flag", '{"a": [1, true]}')),
    ],
)
def test_a_value_is_written_as_vllm_reads_its_type(value: Argument, expected: tuple[str, ...]) -> None:
    assert flag("some_flag", value) == expected
    assert flag("--some-flag", value) == expected


@given(NAMES, SCALARS)
def test_no_value_can_pass_for_an_option(name: str, value: str | int | bool) -> None:
    for part in flag(name, value):
        assert not part.startswith("-") or part.split("=")[0].removeprefix("--no-").removeprefix("--") == name


@given(st.dictionaries(NAMES, SCALARS, max_size=6))
def test_every_argument_appears_once_whatever_the_defaults(args: dict[str, Argument]) -> None:
    line = serve_command(COMMAND, LocalModel("m", "m", args=args), 1, "cpu")
    options = [part.split("=")[0] for part in line if part.startswith("--")]
    assert len(options) == len(set(options))
    for name in args:
        assert f"--{name}" in options or f"--no-{name}" in options


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_the_supervisor_decides_is_refused_by_name(name: str) -> None:
    said = refusal(LocalModel("small", "m", args={name.replace("-", "_"): "x"}))
    assert said is not None
    assert f"local.models.small.args.{name.replace('-', '_')}" in said


def test_less_than_one_replica_is_refused() -> None:
    assert refusal(LocalModel("small", "m")) is None
    assert "at least 1" in str(refusal(LocalModel("small", "m", replicas=0)))


def test_a_cpu_neither_compiles_nor_asks_for_a_gpu() -> None:
    assert "--enforce-eager" in serve_command(COMMAND, LocalModel("m", "m"), 1, "cpu")
    assert "--enforce-eager" not in serve_command(COMMAND, LocalModel("m", "m"), 1, "cuda")
    environment = serve_environment({}, COMMAND, "cpu", model_is_local=True)
    assert environment["VLLM_TARGET_DEVICE"] == "cpu"
    assert environment["TORCHDYNAMO_DISABLE"] == "1"
    assert "VLLM_TARGET_DEVICE" not in serve_environment({}, COMMAND, "cuda", model_is_local=True)


def test_the_hub_is_left_alone_only_when_the_model_lies_here() -> None:
    assert serve_environment({}, COMMAND, "cuda", model_is_local=True)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in serve_environment({}, COMMAND, "cuda", model_is_local=False)


def test_nobody_is_told_of_our_usage_but_the_user_may_decide_otherwise() -> None:
    assert serve_environment({}, COMMAND, "cuda", model_is_local=False)["VLLM_NO_USAGE_STATS"] == "1"
    chosen = serve_environment({"VLLM_NO_USAGE_STATS": "0"}, COMMAND, "cuda", model_is_local=False)
    assert chosen["VLLM_NO_USAGE_STATS"] == "0"


def test_the_gateways_secrets_and_its_python_stay_with_the_gateway() -> None:
    mine = {
        "TURNPIKE_ADMIN_KEY": "s",
        "OPENAI_API_KEY": "s",
        "VLLM_API_KEY": "s",
        "DATABASE_URL": "s",
        "PYTHONPATH": "s",
        "VIRTUAL_ENV": "s",
        "HF_TOKEN": "needed to download",
        "PATH": "/bin",
    }
    environment = serve_environment(mine, COMMAND, "cuda", model_is_local=False)
    assert "s" not in environment.values()
    assert environment["HF_TOKEN"] == "needed to download"
    assert environment["PATH"] == "/opt/vllm/bin:/bin"
    assert serve_environment(mine, ("vllm", "serve"), "cuda", model_is_local=False)["PATH"] == "/bin"


def test_an_embedding_model_is_known_by_its_arguments() -> None:
    assert LocalModel("m", "m", args={"runner": "pooling"}).embeds
    assert not LocalModel("m", "m").embeds
    assert json.loads(flag("x", {"y": "z"})[1]) == {"y": "z"}
