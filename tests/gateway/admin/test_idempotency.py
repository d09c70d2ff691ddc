"""One creation under one idempotency key, whatever the client's network did and whichever worker it reached."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import httpx
import pytest
from pydantic import BaseModel

from billing.audit import TakenOver
from billing.idempotency import KEPT_US, TAKEOVER_US, Claim
from billing.idempotency import Idempotency as StoredClaims
from billing.store import Store
from gateway.admin import shown
from gateway.admin.asked import TeamAsked
from gateway.admin.desks.counter import Counter
from gateway.admin.door import Caller, Who
from gateway.admin.idempotency import ANSWERS_MAX, Idempotency
from gateway.admin.problem import Problem
from tests.gateway.admin.house import NOON, House, url_of


class Thing(BaseModel):
    id: str


class Secret(Thing):
    key: str


class Maker:
    def __init__(self) -> None:
        self.made = 0

    def thing(self, _claim: object = None) -> Thing:
        self.made += 1
        return Thing(id=f"thing_{self.made}")

    def secret(self, _claim: object = None) -> Secret:
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

    def refuse(_claim: object) -> Thing:
        raise Problem("already_exists", "taken")

    assert code_of(lambda: idempotency.once("teams", "a", b"{}", refuse, Thing)) == "already_exists"
    assert idempotency.once("teams", "a", b"[]", maker.thing, Thing).id == "thing_1"


def test_while_the_first_is_being_made_the_second_is_told_to_wait(store: Store) -> None:
    inside, go_on = Barrier(2), Barrier(2)

    def slow(_claim: object) -> Thing:
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


class Killed(BaseException):
    """The process ends: not even `drop` is called any more."""


class Dies(StoredClaims):
    """A process that is killed before it can tell what became of its claim."""

    def finish(self, _claim: Claim, _answer: str) -> None:
        raise Killed

    def drop(self, _claim: Claim) -> None:
        raise Killed


async def team(house: House, name: str = "A") -> httpx.Response:
    return await house.admin.post("/admin/v1/teams", json={"name": name}, headers={"idempotency-key": "once"})


def dying(house: House, *, before: bool) -> None:
    """A creation is killed: before its transaction, or after it and before its answer is kept."""
    counter = Counter(house.rooms)
    counter.idempotency = Idempotency(house.clock, Dies(house.store.engine))  # type: ignore[misc]

    def make(by: Caller) -> shown.Team:
        if not before:
            house.store.create_team("team_lost", "A", None, by.actor, NOON)
        raise Killed

    with pytest.raises(Killed):
        counter.once(Caller(Who.ADMIN_KEY), "teams", "once", TeamAsked(name="A"), make, shown.Team)


async def test_what_died_before_it_was_made_is_made_by_the_next_that_comes_later(house: House) -> None:
    dying(house, before=True)
    early = await team(house)
    assert (early.status_code, early.json()["code"]) == (409, "in_progress")
    assert early.headers["retry-after"] == "1"
    house.clock.now_at_us += TAKEOVER_US
    made = await team(house)
    assert made.status_code == 201
    assert (await team(house)).json() == made.json()
    assert len((await house.admin.get("/admin/v1/teams")).json()["data"]) == 1


async def test_what_died_after_it_was_made_is_not_made_again(house: House) -> None:
    dying(house, before=False)
    house.clock.now_at_us += TAKEOVER_US
    for _ in range(2):
        later = await team(house)
        assert (later.status_code, later.json()["code"]) == (409, "already_made")
        assert "team_lost" in later.json()["detail"]
    assert [one["id"] for one in (await house.admin.get("/admin/v1/teams")).json()["data"]] == ["team_lost"]


async def test_who_was_taken_for_dead_and_goes_on_makes_nothing(house: House) -> None:
    """The slow one is inside its creation while the second takes over and is answered."""
    counter, asked = Counter(house.rooms), TeamAsked(name="A")
    answers: list[shown.Team] = []

    def quick(by: Caller) -> shown.Team:
        house.store.create_team("team_second", "A", None, by.actor, NOON)
        return shown.Team(id="team_second", name="A", created_at="2025-11-25T12:00:00Z", version=1)

    def slow(by: Caller) -> shown.Team:
        house.clock.now_at_us += TAKEOVER_US
        answers.append(counter.once(Caller(Who.ADMIN_KEY), "teams", "once", asked, quick, shown.Team))
        house.store.create_team("team_first", "A", None, by.actor, NOON)
        raise AssertionError("it was made")

    with pytest.raises(TakenOver, match="send it again"):
        counter.once(Caller(Who.ADMIN_KEY), "teams", "once", asked, slow, shown.Team)
    assert [one.id for one in house.store.teams(9).data] == ["team_second"]
    again = counter.once(Caller(Who.ADMIN_KEY), "teams", "once", asked, slow, shown.Team)
    assert [again] == answers, "the refusal of the first did not free the key"


async def test_what_fails_after_it_was_made_does_not_free_the_key(house: House) -> None:
    counter = Counter(house.rooms)

    def make(by: Caller) -> shown.Team:
        house.store.create_team("team_made", "A", None, by.actor, NOON)
        raise RuntimeError("the other workers cannot be told")

    for error, later_us in ((RuntimeError, 0), (Problem, 1), (Problem, TAKEOVER_US)):
        house.clock.now_at_us += later_us
        with pytest.raises(error):
            counter.once(Caller(Who.ADMIN_KEY), "teams", "once", TeamAsked(name="A"), make, shown.Team)
    assert len(house.store.teams(9).data) == 1


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
