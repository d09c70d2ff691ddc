"""The bench's arithmetic: what is counted, compared and added up from known numbers."""

from typing import Any

import pytest

from bench import bill, report, stacks
from bench.ab import total_of
from bench.phases import Run, body, judge

COUNTS = {"requests": 2, "input_tokens": 300, "cached_input_tokens": 100, "output_tokens": 50}


def row(**changed: Any) -> dict[str, Any]:
    # 200 fresh at 150 nano-dollars, 100 cached at 75, 50 out at 600
    return COUNTS | {"cost_usd": "0.000067500", "pending_usd": "0.000000000"} | changed


def test_books_that_equal_the_bill_differ_in_nothing() -> None:
    halves = [row(requests=1, cost_usd="0.000060000"), row(requests=1, cost_usd="0.000007500")]
    halves[1] |= {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0}
    assert bill.differences(COUNTS, halves) == []


@pytest.mark.parametrize(
    "changed", [{"requests": 1}, {"input_tokens": 299}, {"cost_usd": "0.000067501"}, {"pending_usd": "0.000000001"}]
)
def test_books_that_are_off_by_the_least_say_so(changed: dict[str, Any]) -> None:
    (found,) = bill.differences(COUNTS, [row(**changed)])
    assert next(iter(changed)) in found


def load(**changed: Any) -> dict[str, Any]:
    return {"started": 10, "right": 10, "wrong": 0, "wrong_by": {}, "last_wrong": {}, "unfinished": 0} | changed


@pytest.mark.parametrize(
    ("told", "requests", "bytes_each", "complaint"),
    [
        (load(), 10, 1000, None),
        (load(), 9, 1000, "a cache or a retry"),
        (load(), 11, 1000, "a cache or a retry"),
        (load(), 10, 500, "arrived with 500"),
        (load(right=9, wrong=1), 10, 1000, "1 of 10 answers wrong"),
        (load(right=9, unfinished=1), 10, 1000, "1 of 10 not answered"),
    ],
)
def test_a_run_counts_only_when_all_arrived_and_all_was_right(
    told: dict[str, Any], requests: int, bytes_each: int, complaint: str | None
) -> None:
    found = judge(told, 1000, {"requests": requests, "body_bytes": bytes_each * requests})
    assert (complaint is None and not found) or (complaint is not None and complaint in found[0])


def run(target: str, number: int, per_s: float, p50: float = 0.0) -> Run:
    return Run(target, number, per_s, {"latency_us": {"p50": p50}}, 1.0, 1.0, 0.0, (), overloaded=False)


def test_a_ratio_is_the_median_of_the_rounds_own_and_warm_up_is_left_out() -> None:
    runs = [run("nginx", -1, 1), run("a", -1, 100)]
    for number, (nginx, mine) in enumerate([(100, 50), (200, 80), (50, 30)]):
        runs += [run("nginx", number, nginx), run("a", number, mine)]
    assert report.ratio(runs, "a", lambda r: r.per_s) == 0.5


def test_added_latency_is_counted_against_no_gateway_in_the_same_round() -> None:
    runs = [run("direct", 0, 1, 100), run("a", 0, 1, 150), run("direct", 1, 1, 300), run("a", 1, 1, 330)]
    assert report.added_us(runs, "a", "latency_us", "p50") == 40


@pytest.mark.parametrize("kilobytes", [1, 20, 200])
def test_a_body_has_about_the_size_asked_for_and_one_place_for_its_number(kilobytes: int) -> None:
    text = body(kilobytes, "gpt-4o-mini", stream=True)
    assert 0.6 * kilobytes * 1024 < len(text) <= kilobytes * 1024
    assert text.count(b"#") == 2


SAMPLES = """\
main (/app/turnpike:1);serve (/app/gateway/serve.py:9);ride (/app/gateway/wire/client.py:3) 6
main (/app/turnpike:1);serve (/app/gateway/serve.py:9);settle (/app/billing/books.py:5) 3
run (/lib/site-packages/uvloop/__init__.py:2) 1
"""


def test_samples_are_added_up_by_the_room_they_stand_in() -> None:
    found = {share.name: (share.own, share.within) for share in stacks.rooms(stacks.parse(SAMPLES))}
    assert found["gateway/wire"] == (0.6, 0.6)
    assert found["billing"] == (0.3, 0.3)
    assert found["gateway/serve.py"] == (0.0, 0.9)
    assert found["event loop"] == (0.1, 0.1)


def test_a_function_that_calls_itself_is_counted_once_a_sample() -> None:
    (share,) = stacks.functions(stacks.parse("walk (/app/cache/tree.py:1);walk (/app/cache/tree.py:2) 4"))
    assert share == stacks.Share("cache: walk", 1.0, 1.0)


@pytest.mark.parametrize("last", ["totals: 123456", "summary: 123456\n"])
def test_callgrinds_total_is_read_from_its_last_lines(last: str) -> None:
    assert total_of(f"events: Ir\nfn=(1) main\n5 7\n\n{last}") == 123456
