"""One creation under one idempotency key, whatever the client's network did and whichever worker it reached."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from pydantic import BaseModel

from billing.idempotency import KEPT_US
from billing.store import Store
from gateway.admin.idempotency import ANSWERS_MAX, Idempotency
from gateway.admin.problem import Problem
from tests.gateway.admin.house import House, url_of


class Thing(BaseModel):
    id: str


class Secret(Thing):
    key: str


class Maker:
    def __init__(self) -> None:
        self.made = 0

    def thing(self) -> Thing:
        self.made += 1
        return Thing(id=f"thing_{self.made}")

    def secret(self) -> Secret:
        self.made += 1
        return Secret(id=f"thing_{self.made}", key=f"tp-of-thing-{self.made}")


class Hands:
    def __init__(self) -> None:
        self.now_at_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_at_us


@pytest.fixture
def file(house: House) -> Path:
    return house.file


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    opened = Store(url_of(file))
    yield opened
    opened.close()


@pytest.fixture
def idempotency(store: Store) -> Idempotency:
    return Idempotency(Hands(), store.idempotency)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


def test_the_same_key_and_body_is_made_once(idempotency: Idempotency) -> None:
    maker = Maker()
    made = [idempotency.once("teams", "a", b"{}", maker.thing, Thing).id for _ in range(3)]
    assert made == ["thing_1"] * 3


def test_another_worker_gives_the_same_answer(store: Store) -> None:
    maker = Maker()
    made = [Idempotency(Hands(), store.idempotency).once("teams", "a", b"{}", maker.thing, Thing) for _ in range(2)]
    assert made == [Thing(id="thing_1")] * 2


def test_a_secret_is_given_again_by_the_process_that_made_it_alone(store: Store) -> None:
    maker, here = Maker(), Idempotency(Hands(), store.idempotency)
    made = [here.once("keys", "a", b"{}", maker.secret, Secret).key for _ in range(2)]
    assert made == ["tp-of-thing-1"] * 2
    elsewhere = Idempotency(Hands(), store.idempotency)
    with pytest.raises(Problem) as caught:
        elsewhere.once("keys", "a", b"{}", maker.secret, Secret)
    assert caught.value.code == "already_made"
    assert "thing_1" in caught.value.detail
    assert maker.made == 1


def test_no_secret_is_written_down(store: Store, file: Path) -> None:
    Idempotency(Hands(), store.idempotency).once("keys", "a", b"{}", Maker().secret, Secret)
    store.close()
    kept = b"".join(one.read_bytes() for one in file.parent.iterdir() if one.is_file())
    assert b"thing_1" in kept
    assert b"tp-of-thing-1" not in kept


def test_without_a_key_each_is_made(idempotency: Idempotency) -> None:
    maker = Maker()
    made = [idempotency.once("teams", None, b"{}", maker.thing, Thing).id for _ in range(2)]
    assert made == ["thing_1", "thing_2"]


def test_two_rooms_do_not_share_keys(idempotency: Idempotency) -> None:
    maker = Maker()
    made = [idempotency.once(room, "a", b"{}", maker.thing, Thing).id for room in ("budgets", "teams")]
    assert made == ["thing_1", "thing_2"]


@pytest.mark.parametrize("kind", [Thing, Secret])
def test_another_body_is_a_mismatch(idempotency: Idempotency, kind: type[Thing]) -> None:
    maker = Maker()
    make = maker.secret if kind is Secret else maker.thing
    idempotency.once("teams", "a", b"{}", make, kind)
    assert code_of(lambda: idempotency.once("teams", "a", b"[]", make, kind)) == "idempotency_mismatch"


def test_a_refused_creation_may_be_corrected_under_the_same_key(idempotency: Idempotency) -> None:
    maker = Maker()

    def refuse() -> Thing:
        raise Problem("already_exists", "taken")

    assert code_of(lambda: idempotency.once("teams", "a", b"{}", refuse, Thing)) == "already_exists"
    assert idempotency.once("teams", "a", b"[]", maker.thing, Thing).id == "thing_1"


def test_while_the_first_is_being_made_the_second_is_told_to_wait(store: Store) -> None:
    inside, go_on = Barrier(2), Barrier(2)

    def slow() -> Thing:
        inside.wait(5)
        go_on.wait(5)
        return Thing(id="thing_1")

    here, elsewhere = (Idempotency(Hands(), store.idempotency) for _ in range(2))
    first = Thread(target=here.once, args=("teams", "a", b"{}", slow, Thing))
    first.start()
    inside.wait(5)
    codes = {code_of(lambda one=one: one.once("teams", "a", b"{}", slow, Thing)) for one in (here, elsewhere)}  # type: ignore[misc]
    go_on.wait(5)
    first.join(5)
    assert codes == {"in_progress"}


@pytest.mark.parametrize("kind", [Thing, Secret])
def test_after_a_day_the_key_is_new_again(store: Store, kind: type[Thing]) -> None:
    hands, maker = Hands(), Maker()
    idempotency = Idempotency(hands, store.idempotency)
    make = maker.secret if kind is Secret else maker.thing
    idempotency.once("teams", "a", b"{}", make, kind)
    hands.now_at_us += KEPT_US + 1
    assert idempotency.once("teams", "a", b"{}", make, kind).id == "thing_2"


class Forgetful:
    """Keeps nothing beyond the process."""

    def claim(self, *_: object) -> None:
        return None

    def finish(self, *_: object) -> None:
        pass

    def drop(self, *_: object) -> None:
        pass


def test_what_is_remembered_is_bounded() -> None:
    idempotency, maker = Idempotency(Hands(), Forgetful()), Maker()
    for number in range(ANSWERS_MAX + 5):
        idempotency.once("keys", str(number), b"{}", maker.secret, Secret)
    assert len(idempotency._secrets) == ANSWERS_MAX


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_odd_key_is_refused(idempotency: Idempotency, key: str) -> None:
    assert code_of(lambda: idempotency.once("teams", key, b"{}", Maker().thing, Thing)) == "invalid"
