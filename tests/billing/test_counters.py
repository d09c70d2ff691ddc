"""Wherever counts are kept, limits hold as a naive model says: in one process, or shared by workers through a file."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from billing.counters import Counters, OwnCounters
from billing.limits import Limit
from billing.rates import NONE, Decision, Subject
from billing.shared_counters import LOCK_US_MAX, ROW_SEATS, SharedCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T0: Final = 1_700_000_000_000_000
MINUTE: Final = 60_000_000
SUBJECTS: Final = (
    Subject("key:a", "key `a`", Limit(5, 1000, None)),
    Subject("key:b", "key `b`", Limit(None, 300, 2)),
    Subject("team:t", "team `t`", Limit(7, None, 3)),
    Subject("team:t model:m*", "model `m*` of team `t`", Limit(3, 700, None)),
    Subject("model:m", "model `m`", Limit(11, 5000, 4)),
)


def shared(file: Path, index: int = 0, workers: int = 2, subjects_max: int = 1024) -> SharedCounters:
    return SharedCounters(
        file,
        index,
        workers,
        monotonic_us=lambda: time.monotonic_ns() // 1000,
        sleep_us=lambda us: time.sleep(us / 1_000_000),
        subjects_max=subjects_max,
    )


@pytest.fixture(params=["own", "shared"])
def counters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Counters]:
    made: Counters = OwnCounters() if request.param == "own" else shared(tmp_path / "counts")
    yield made
    made.close()


def only(
    requests: int | None = None, tokens: int | None = None, concurrency: int | None = None, name: str = "k"
) -> tuple[Subject]:
    return (Subject(name, name, Limit(requests, tokens, concurrency)),)


def test_a_request_is_counted_until_it_is_refilled(counters: Counters) -> None:
    bound = only(requests=2)
    kinds = [counters.admit(bound, 0, 0, T0 + ms).kind for ms in (0, 1, 2)]
    assert kinds == ["", "", "requests"]
    assert counters.admit(bound, 0, 0, T0 + MINUTE // 2).kind == ""


def test_what_ends_makes_room_and_gives_back_what_it_did_not_use(counters: Counters) -> None:
    bound = only(tokens=100, concurrency=1)
    assert counters.admit(bound, 90, 10, T0).kind == ""
    assert counters.admit(bound, 20, 10, T0).kind == "tokens"
    counters.end(bound, 90, 30, T0, T0)
    decision = counters.admit(bound, 20, 10, T0)
    assert (decision.kind, decision.tokens.remaining) == ("", 50)
    assert counters.admit(bound, 20, 10, T0).kind == "concurrency"


def test_where_one_limit_refuses_nothing_is_counted_under_the_others(counters: Counters) -> None:
    wide, narrow = only(requests=10, name="wide"), only(requests=1, name="narrow")
    assert counters.admit((*wide, *narrow), 0, 0, T0).kind == ""
    for _ in range(5):
        assert counters.admit((*wide, *narrow), 0, 0, T0).kind == "requests"
    assert counters.admit(wide, 0, 0, T0).requests.remaining == 8


def test_a_limit_that_was_changed_binds_at_once_and_what_was_used_stands(counters: Counters) -> None:
    counters.admit(only(requests=10), 0, 0, T0)
    counters.admit(only(requests=10), 0, 0, T0)
    assert counters.admit(only(requests=4), 0, 0, T0).requests.remaining == 1


class Running(NamedTuple):
    subjects: tuple[Subject, ...]
    estimate: int
    begun_us: int


class Naive:
    """What was counted when, replayed from the start each time it is asked."""

    def __init__(self, subject: Subject) -> None:
        self.limit = subject.limit
        self.running = 0
        self.requests: list[tuple[int, int]] = []
        self.tokens: list[tuple[int, int]] = []

    @staticmethod
    def level(events: list[tuple[int, int]], per_minute: int, now_us: int) -> Fraction:
        level, then_us = Fraction(0), T0
        for at_us, more in [*events, (now_us, 0)]:
            level = max(level - Fraction(per_minute * (at_us - then_us), MINUTE), Fraction(0))
            level, then_us = max(level + more, Fraction(0)), at_us
        return level

    def waits_us(self, tokens: int, now_us: int) -> list[Fraction]:
        """For each of its limits that refuses."""
        waits = []
        for events, per_minute, more in (
            (self.requests, self.limit.requests_per_minute, 1),
            (self.tokens, self.limit.tokens_per_minute, tokens),
        ):
            if per_minute is not None:
                over = self.level(events, per_minute, now_us) + min(more, per_minute) - per_minute
                if over > 0:
                    waits.append(over * MINUTE / per_minute)
        if self.limit.concurrency_max is not None and self.running >= self.limit.concurrency_max:
            waits.append(Fraction(1_000_000))
        return waits


class LimitsHold(RuleBasedStateMachine):
    """Any of several hands on the counts may admit a request, and only that one ends it."""

    def hands(self) -> list[Counters]:
        return [OwnCounters()]

    def __init__(self) -> None:
        super().__init__()
        self.now_us = T0
        self.counters = self.hands()
        self.naive = {subject.id: Naive(subject) for subject in SUBJECTS}
        self.running: list[tuple[int, Running]] = []

    def teardown(self) -> None:
        for each in self.counters:
            each.close()

    @rule(us=st.sampled_from([1, 999, 100_000, 7_000_001, 20_000_000, 61_000_000]))
    def time_passes(self, us: int) -> None:
        self.now_us += us

    @rule(
        subjects=st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=4, unique=True).map(tuple),
        tokens=st.integers(1, 900),
        hand=st.integers(0, 9),
    )
    def somebody_asks(self, subjects: tuple[Subject, ...], tokens: int, hand: int) -> None:
        hand %= len(self.counters)
        bound = [(subject, self.naive[subject.id]) for subject in subjects]
        waits = [wait for _, naive in bound for wait in naive.waits_us(tokens, self.now_us)]
        decision = self.counters[hand].admit(subjects, tokens, 1, self.now_us)
        assert (decision.kind == "") == (not waits)
        if waits:
            longest = max(waits)
            assert decision.wait_us == -(-longest.numerator // longest.denominator)
        else:
            for subject, naive in bound:
                naive.requests.append((self.now_us, 1))
                naive.tokens.append((self.now_us, min(tokens, subject.limit.tokens_per_minute or 0)))
                naive.running += 1
            self.running.append((hand, Running(subjects, tokens, self.now_us)))
        self._the_tightest_shows(decision, [naive for _, naive in bound])

    def _the_tightest_shows(self, decision: Decision, bound: list[Naive]) -> None:
        for shown, sort in ((decision.requests, "requests"), (decision.tokens, "tokens")):
            remaining = []
            for naive in bound:
                per_minute = getattr(naive.limit, f"{sort}_per_minute")
                if per_minute is not None:
                    free = per_minute - naive.level(getattr(naive, sort), per_minute, self.now_us)
                    remaining.append(max(free.numerator // free.denominator, 0))
            assert (shown.limit == NONE) == (not remaining)
            if remaining:
                assert shown.remaining == min(remaining)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), used=st.integers(0, 1500))
    def one_ends(self, data: st.DataObject, used: int) -> None:
        hand, ended = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.counters[hand].end(ended.subjects, ended.estimate, used, ended.begun_us, self.now_us)
        for subject in ended.subjects:
            naive = self.naive[subject.id]
            naive.running -= 1
            more = used - min(ended.estimate, subject.limit.tokens_per_minute or 0)
            if more > 0 or self.now_us - ended.begun_us < MINUTE:
                naive.tokens.append((self.now_us, more))

    @invariant()
    def nothing_is_tracked_but_what_asked(self) -> None:
        assert all(each.tracked() <= len(SUBJECTS) for each in self.counters)


class SharedLimitsHold(LimitsHold):
    """Three workers on one file."""

    def hands(self) -> list[Counters]:
        self.folder = TemporaryDirectory()
        return [shared(Path(self.folder.name) / "counts", index, 3) for index in range(3)]

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestLimitsHold = LimitsHold.TestCase
TestSharedLimitsHold = SharedLimitsHold.TestCase
TestLimitsHold.settings = TestSharedLimitsHold.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)


def test_those_that_have_not_asked_for_longest_are_forgotten() -> None:
    counters = OwnCounters(subjects_max=10)
    for number in range(30):
        counters.admit(only(requests=1, name=f"k{number}"), 0, 0, T0)
        counters.end(only(requests=1, name=f"k{number}"), 0, 0, T0, T0)
        counters.admit(only(requests=1, name="k0"), 0, 0, T0)
        assert counters.tracked() <= 10
    assert counters.admit(only(requests=1, name="k0"), 0, 0, T0).kind == "requests", "it asked all the time"
    assert counters.admit(only(requests=1, name="k29"), 0, 0, T0).kind == "requests"
    assert counters.admit(only(requests=1, name="k1"), 0, 0, T0).kind == "", "forgotten"


def test_nobody_is_forgotten_while_a_request_is_under_way() -> None:
    counters = OwnCounters(subjects_max=3)
    names = [f"k{number}" for number in range(6)]
    for name in names:
        assert counters.admit(only(concurrency=1, name=name), 0, 0, T0).kind == ""
    assert counters.tracked() == 6
    assert [counters.admit(only(concurrency=1, name=name), 0, 0, T0).kind for name in names] == ["concurrency"] * 6
    for name in names:
        counters.end(only(concurrency=1, name=name), 0, 0, T0, T0)
    counters.admit(only(concurrency=1, name="new"), 0, 0, T0)
    assert counters.tracked() == 3


def test_shared_counts_forget_the_longest_idle_of_a_row_and_none_under_way(tmp_path: Path) -> None:
    counters = shared(tmp_path / "counts", subjects_max=ROW_SEATS)
    for number in range(ROW_SEATS):
        bound = only(requests=1, concurrency=9, name=f"k{number}")
        counters.admit(bound, 0, 0, T0 + number)
        if number % 2:
            counters.end(bound, 0, 0, T0 + number, T0 + number)
    later = T0 + 1000
    for name in ("new", "newer"):
        assert counters.admit(only(requests=1, name=name), 0, 0, later).kind == ""
    assert counters.tracked() == ROW_SEATS
    kinds = {
        number: counters.admit(only(requests=1, name=f"k{number}"), 0, 0, later).kind for number in (0, 2, 4, 6, 5, 7)
    }
    assert set(kinds.values()) == {"requests"}, "k1 and k3 made room"
    counters.close()


def admit_until_refused(file: Path, index: int, name: str, workers: int, found: multiprocessing.Queue[int]) -> None:
    counters = shared(file, index, workers)
    admitted = 0
    for _ in range(400):
        admitted += counters.admit(only(requests=500, name=name), 0, 0, T0).kind == ""
    found.put(admitted)


@pytest.mark.process
def test_processes_together_let_through_exactly_the_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[int] = context.Queue()
    file = tmp_path / "counts"
    shared(file, 0, 4).close()
    workers = [context.Process(target=admit_until_refused, args=(file, index, "k", 4, found)) for index in range(4)]
    for worker in workers:
        worker.start()
    assert sum(found.get(timeout=60) for _ in workers) == 500
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def test_what_a_dead_worker_had_under_way_is_let_go_by_who_comes_after(tmp_path: Path) -> None:
    bound = only(concurrency=2)
    one, two = shared(tmp_path / "counts", 0), shared(tmp_path / "counts", 1)
    assert [one.admit(bound, 0, 0, T0).kind, two.admit(bound, 0, 0, T0).kind] == ["", ""]
    assert two.admit(bound, 0, 0, T0).kind == "concurrency"
    one.close()
    after = shared(tmp_path / "counts", 0)
    assert two.admit(bound, 0, 0, T0).kind == ""
    assert two.admit(bound, 0, 0, T0).kind == "concurrency", "its own two still count"
    after.close()
    two.close()


def test_counts_outlive_a_restart_but_nothing_is_under_way_then(tmp_path: Path) -> None:
    bound = only(requests=3, concurrency=1)
    for remaining in (2, 1, 0):
        hands = [shared(tmp_path / "counts", index) for index in range(2)]
        assert hands[1].admit(bound, 0, 0, T0).requests.remaining == remaining
        for each in hands:
            each.close()


def test_another_number_of_workers_begins_anew(tmp_path: Path) -> None:
    before = shared(tmp_path / "counts", 0, 4)
    before.admit(only(requests=2), 0, 0, T0)
    before.close()
    after = shared(tmp_path / "counts", 0, 2)
    assert after.tracked() == 0
    assert after.admit(only(requests=2), 0, 0, T0).requests.remaining == 1
    after.close()
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Somebody stands still with the lock in hand; calling it lets go."""
    shared(tmp_path / "counts").close()
    fd = os.open(tmp_path / "counts", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield lambda: fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def test_a_worker_that_stands_still_with_the_lock_stops_nobody_for_long(
    tmp_path: Path, held: Callable[[], None]
) -> None:
    slept: list[int] = []
    now = [0]

    def sleep(us: int) -> None:
        slept.append(us)
        now[0] += us

    counters = SharedCounters(tmp_path / "counts", 0, 2, monotonic_us=lambda: now[0], sleep_us=sleep, subjects_max=1024)
    slept.clear()
    now[0] += 10_000_000
    bound = only(requests=2)
    assert counters.admit(bound, 0, 0, T0).kind == ""
    assert LOCK_US_MAX <= sum(slept) <= 2 * LOCK_US_MAX
    waited = sum(slept)
    assert [counters.admit(bound, 0, 0, T0).kind for _ in range(2)] == ["", "requests"]
    assert sum(slept) == waited, "the others do not wait once more"
    held()
    now[0] += 10_000_000
    counters.end(bound, 0, 0, T0, T0)
    assert counters.admit(bound, 0, 0, T0 + MINUTE).kind == ""
    counters.close()
