"""What is read out of vLLM's log: the lines are those of real starts, good and bad."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_backend.logs import LINE_CHARACTERS_MAX, Progress, Ring, Splitter, cause, read_progress

START = """\
(APIServer pid=1) INFO 11-25 01:32:08 [api_utils.py:286] non-default args: {'model_tag': '/models/tiny'}
(APIServer pid=1) INFO 11-25 01:32:15 [model.py:733] Resolved architecture: Qwen3ForCausalLM
(EngineCore pid=2) INFO 11-25 01:32:20 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='/models'
(Worker pid=3) INFO 11-25 01:32:26 [cpu_model_runner.py:68] Starting to load model /models/tiny...
Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]
Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00, 317.46it/s]
(Worker pid=3) INFO 11-25 01:32:27 [default_loader.py:501] Loading weights took 0.00 seconds
(EngineCore pid=2) INFO 11-25 01:32:28 [core.py:402] init engine (profile, create kv cache, warmup model) took 0.71 s
INFO:     Application startup complete.""".splitlines()


def test_a_start_moves_from_phase_to_phase_and_never_back() -> None:
    progress, seen = Progress(), []
    for line in START:
        progress = read_progress(progress, line)
        seen.append(progress.percent)
    assert seen == sorted(seen)
    assert seen[5] == 85
    assert (progress.percent, progress.phase) == (99, "answering a first request")
    assert read_progress(progress, START[0]) == progress


@given(st.lists(st.sampled_from(START) | st.text(), max_size=30))
def test_whatever_is_written_progress_stays_within_bounds(lines: list[str]) -> None:
    progress = Progress()
    for line in lines:
        before, progress = progress, read_progress(progress, line)
        assert before.percent <= progress.percent <= 100


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [
                "(EngineCore pid=2) ERROR 11-25 01:38:14 [core.py:1510]     raise ValueError(",
                "(EngineCore pid=2) ERROR 11-25 01:38:14 [core.py:1] ValueError: No available memory for the cache.",
                "ValueError: No available memory for the cache.",
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            ],
            "No available memory for the cache.",
        ),
        (
            ["usage: vllm [-h]", "vllm: error: unrecognized arguments: --no-such 1"],
            "unrecognized arguments: --no-such 1",
        ),
        (
            ["    raise X(", "huggingface_hub.errors.HFValidationError: Repo id must use alphanumeric chars"],
            "huggingface_hub.errors.HFValidationError: Repo id must use alphanumeric chars",
        ),
        (["cannot run /opt/vllm: Permission denied"], "cannot run /opt/vllm: Permission denied"),
        (["INFO:     Application startup complete.", ""], None),
    ],
)
def test_the_cause_is_the_engines_own_sentence(lines: list[str], expected: str | None) -> None:
    assert cause(lines) == expected


@given(st.lists(st.text(max_size=300), max_size=20))
def test_no_log_breaks_the_search_for_a_cause(lines: list[str]) -> None:
    found = cause(lines)
    assert found is None or 0 < len(found) <= 500


def test_the_ring_keeps_the_last_lines_and_not_our_own_probes() -> None:
    ring = Ring(lines_max=3)
    for number in range(5):
        ring.write(f"line {number}")
        ring.write('INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK')
    assert ring.last(2) == ("line 3", "line 4")
    assert ring.last(99) == ("line 2", "line 3", "line 4")
    assert ring.last(0) == ()
    assert ring.written == 5


def test_a_line_without_end_is_cut() -> None:
    ring = Ring()
    ring.write("x" * 10 * LINE_CHARACTERS_MAX)
    assert len(ring.last(1)[0]) == LINE_CHARACTERS_MAX


def test_a_cause_of_an_earlier_attempt_does_not_explain_a_later_one() -> None:
    ring = Ring()
    ring.write("ValueError: first")
    assert ring.cause() == "ValueError: first"
    ring.start()
    assert ring.cause() is None
    ring.write("ValueError: second")
    assert ring.cause() == "ValueError: second"


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1), st.data())
def test_lines_survive_being_cut_anywhere(lines: list[str], data: st.DataObject) -> None:
    whole = "\n".join(lines).encode()
    splitter, found, at = Splitter(), [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        found += splitter.feed(whole[at : at + size])
        at += size
    found += splitter.rest()
    assert [line for line in found if line] == [line for line in lines if line]


def test_each_state_of_a_progress_bar_is_a_line() -> None:
    assert Splitter().feed(b"10%\r20%\r\n30%\n") == ["10%", "20%", "30%"]
