"""One creation under one idempotency key, whatever the client's network did."""

from collections.abc import Callable
from threading import Barrier, Thread

import pytest

from gateway.admin.idempotency import ANSWERS_MAX, KEPT_US, Idempotency
from gateway.admin.problem import Problem


class Counter:
    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> int:
        self.made += 1
        return self.made


class Hands:
    def __init__(self) -> None:
        self.now_at_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_at_us


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


def test_the_same_key_and_body_is_made_once() -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    assert [idempotency.once("keys", "a", b"{}", make) for _ in range(3)] == [1, 1, 1]


def test_without_a_key_each_is_made() -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    assert [idempotency.once("keys", None, b"{}", make) for _ in range(2)] == [1, 2]


def test_two_rooms_do_not_share_keys() -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    assert [idempotency.once(room, "a", b"{}", make) for room in ("keys", "teams")] == [1, 2]


def test_another_body_is_a_mismatch() -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    idempotency.once("keys", "a", b"{}", make)
    assert code_of(lambda: idempotency.once("keys", "a", b"[]", make)) == "idempotency_mismatch"


def test_a_refused_creation_may_be_corrected_under_the_same_key() -> None:
    idempotency, make = Idempotency(Hands()), Counter()

    def refuse() -> int:
        raise Problem("already_exists", "taken")

    assert code_of(lambda: idempotency.once("keys", "a", b"{}", refuse)) == "already_exists"
    assert idempotency.once("keys", "a", b"[]", make) == 1


def test_while_the_first_is_being_made_the_second_is_told_to_wait() -> None:
    idempotency = Idempotency(Hands())
    inside, go_on = Barrier(2), Barrier(2)

    def slow() -> int:
        inside.wait(5)
        go_on.wait(5)
        return 1

    first = Thread(target=idempotency.once, args=("keys", "a", b"{}", slow))
    first.start()
    inside.wait(5)
    code = code_of(lambda: idempotency.once("keys", "a", b"{}", slow))
    go_on.wait(5)
    first.join(5)
    assert code == "in_progress"


def test_after_a_day_the_key_is_new_again() -> None:
    hands, make = Hands(), Counter()
    idempotency = Idempotency(hands)
    idempotency.once("keys", "a", b"{}", make)
    hands.now_at_us += KEPT_US
    assert idempotency.once("keys", "a", b"{}", make) == 2


def test_what_is_kept_is_bounded() -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    for number in range(ANSWERS_MAX + 5):
        idempotency.once("keys", str(number), b"{}", make)
    assert len(idempotency._kept) == ANSWERS_MAX


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_odd_key_is_refused(key: str) -> None:
    idempotency, make = Idempotency(Hands()), Counter()
    assert code_of(lambda: idempotency.once("keys", key, b"{}", make)) == "invalid"
