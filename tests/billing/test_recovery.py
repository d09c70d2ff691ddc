"""Whatever byte a journal ends at, every dispatched attempt is posted once, at what is known of it."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.books import EntryKind, Hold
from billing.holds import Posting, decode_hold, encode, encode_hold, encode_price
from billing.journal_records import END, FRAME, MAGIC, Mark, Record, records, seeds
from billing.price import Price, Usage, cost_nano_usd
from billing.recovery import NEXT, JournalUnreadable, State, outstanding, told_by_recovery
from tests.billing.makers import PRICE, USAGE, hold, prices

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

SO_FAR = Usage(input_tokens=1200, output_tokens=100)


def of_hold(mark: Mark, held: Hold) -> Record:
    return Record(mark, encode_hold(held, encode_price(held.price)))


def named(mark: Mark, held: Hold) -> Record:
    return Record(mark, encode(held[:2]))


def progress(held: Hold, usage: Usage = SO_FAR) -> Record:
    return Record(Mark.P, encode((*held[:2], usage)))


def usage(held: Hold, cost: int = 850_000, kind: EntryKind = EntryKind.ACTUAL) -> Record:
    return Record(Mark.U | Mark.S, encode((*held[:2], USAGE, cost, int(kind))))


RESERVED = of_hold(Mark.R, hold())
DISPATCHED = of_hold(Mark.R | Mark.D, hold())
UNKNOWN = Posting(hold(), Usage(), 1_500_000, EntryKind.UNKNOWN, 0)
EXACT = Posting(hold(), USAGE, 850_000, EntryKind.ACTUAL, 0)
ESTIMATED = Posting(hold(), SO_FAR, cost_nano_usd(SO_FAR, PRICE), EntryKind.ESTIMATED, 0)


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        ([], []),
        ([RESERVED], []),
        ([RESERVED, named(Mark.X, hold())], []),
        ([RESERVED, named(Mark.D, hold())], [UNKNOWN]),
        ([DISPATCHED], [UNKNOWN]),
        ([DISPATCHED, named(Mark.X, hold())], []),
        ([DISPATCHED, usage(hold())], [EXACT]),
        ([DISPATCHED, progress(hold())], [ESTIMATED]),
        ([DISPATCHED, progress(hold(), Usage(1)), progress(hold())], [ESTIMATED]),
        ([DISPATCHED, progress(hold()), usage(hold())], [EXACT]),
        ([DISPATCHED, progress(hold()), named(Mark.X, hold())], []),
        ([DISPATCHED, usage(hold()), usage(hold(), 9), named(Mark.X, hold()), progress(hold())], [EXACT]),
        ([DISPATCHED, DISPATCHED], [UNKNOWN]),
        ([RESERVED, named(Mark.X, hold()), DISPATCHED], [UNKNOWN]),
        ([DISPATCHED, usage(hold()), DISPATCHED], [EXACT]),
        ([RESERVED, usage(hold())], []),
        ([usage(hold())], []),
        ([progress(hold()), named(Mark.X, hold()), named(Mark.D, hold())], []),
        (
            [DISPATCHED, of_hold(Mark.R | Mark.D, hold(attempt=2)), usage(hold())],
            [EXACT, UNKNOWN._replace(hold=hold(attempt=2))],
        ),
    ],
)
def test_a_journal_says_what_must_be_posted(journal: list[Record], expected: list[Posting]) -> None:
    assert list(outstanding(journal)) == expected


def test_an_estimate_is_at_most_its_hold() -> None:
    far = Usage(input_tokens=10**9)
    (posting,) = outstanding([DISPATCHED, progress(hold(), far)])
    assert posting.amount_nano_usd == hold().amount_nano_usd
    assert posting.kind == EntryKind.ESTIMATED


def test_a_record_of_another_release_stops_the_start_rather_than_being_dropped() -> None:
    with pytest.raises(JournalUnreadable, match="start that release once"):
        outstanding([DISPATCHED, Record(Mark.U | Mark.S, encode((*hold().request_id, 1)))])


def test_no_transition_leads_out_of_an_end() -> None:
    ends = {State.USED, State.RELEASED}
    assert {state for state, _ in NEXT} == set(State) - ends
    assert {after for (state, mark), after in NEXT.items() if mark is Mark.X} == {State.RELEASED}


@given(prices)
def test_a_hold_keeps_its_price_through_the_journal(price: Price) -> None:
    held = hold(price=price, user_id="user_1", end_user="ünï", tags=("a=b", "c"))
    assert decode_hold(encode_hold(held, encode_price(price))) == held


def image_of(journal: list[Record]) -> tuple[bytes, list[int]]:
    """A segment's bytes, and where each record ends."""
    image, ends = MAGIC, []
    for mark, payload in journal:
        image += FRAME.pack(len(payload), zlib.crc32(payload, seeds(7)[mark]), mark) + payload
        ends.append(len(image))
    return image + END, ends


@given(st.data())
def test_a_crash_at_any_byte_leaves_every_dispatched_attempt_one_posting(data: DataObject) -> None:
    lives = [hold(number) for number in range(data.draw(st.integers(1, 4)))]
    scripts = [
        data.draw(
            st.sampled_from(
                [
                    [of_hold(Mark.R, held)],
                    [of_hold(Mark.R, held), named(Mark.X, held)],
                    [of_hold(Mark.R, held), named(Mark.D, held), usage(held)],
                    [of_hold(Mark.R | Mark.D, held), progress(held), usage(held)],
                    [of_hold(Mark.R | Mark.D, held), usage(held)],
                    [of_hold(Mark.R | Mark.D, held), named(Mark.X, held)],
                ]
            )
        )
        for held in lives
    ]
    turns = data.draw(st.permutations([place for place, script in enumerate(scripts) for _ in script]))
    rest = [iter(script) for script in scripts]
    journal = [(place, next(rest[place])) for place in turns]
    image, ends = image_of([record for _, record in journal])
    end = data.draw(st.integers(0, len(image)))
    noise = data.draw(st.binary(max_size=40))

    postings = outstanding(records(image[:end] + noise, 7))

    whole = [record for record, at in zip(journal, ends, strict=True) if at <= end]
    for place, held in enumerate(lives):
        seen = Mark(0)
        for of, (mark, _) in whole:
            seen |= mark if of == place else Mark(0)
        expected = Mark.D in seen and Mark.X not in seen
        mine = [posting for posting in postings if posting.hold == held]
        assert len(mine) == expected
        if expected:
            known = EntryKind.ACTUAL if Mark.U in seen else EntryKind.ESTIMATED if Mark.P in seen else EntryKind.UNKNOWN
            assert mine[0].kind == known


def test_a_request_whose_end_was_lost_gets_a_page() -> None:
    journal = itertools.chain([DISPATCHED, usage(hold())], [of_hold(Mark.R | Mark.D, hold(attempt=2))], [DISPATCHED])
    (told,) = told_by_recovery(outstanding(journal))
    assert told.request_id == hold().request_id
    assert [attempt.outcome for attempt in told.attempts] == ["actual", "unknown"]
    assert told.cost_nano_usd == 850_000 + 1_500_000
    assert told.error_code == "interrupted"
