"""No byte of the ledger changes unseen, and no end of it is cut unseen."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from billing.books import Books, EntryKind
from billing.database import normalised, open_engine
from billing.heads import HEAD_BYTES, Heads, read_heads
from billing.migrating import migrate
from billing.price import UNPRICED
from billing.verify import Verdict, verify
from tests.billing.conftest import now_us
from tests.billing.ledger_rows import query
from tests.billing.makers import USAGE, hold

if TYPE_CHECKING:
    from pathlib import Path

GUARDED = ("entries", "batches", "accounts", "account_tags", "prices")


def filled(url: str, state: Path, *, writers: int = 2, flushes: int = 3) -> None:
    """A ledger of several writers whose batches lie between one another."""
    books = [
        Books(url, state / f"journal{writer}", clock=now_us, writer=writer, state=state) for writer in range(writers)
    ]
    for each in books:
        each.open()
    number = 0
    for _ in range(flushes):
        for each in books:
            for tags in (("feature=search",), ("feature=chat", "env=prod")):
                number += 1
                held = hold(number, tags=tags, organization_id="org_1", end_user="ünï")
                each.reserve_and_dispatch(held)
                each.settle(held, USAGE, 1000 + number, EntryKind.ACTUAL)
            each.saving(hold(number + 1000, attempt=0, price=UNPRICED), USAGE, 5)
            each.flush()
    for each in books:
        each.close()


def checked(url: str, state: Path | None) -> Verdict:
    engine = open_engine(url)
    try:
        return verify(engine, state)
    finally:
        engine.dispose()


def unguard(url: str) -> None:
    """As somebody who owns the database could: the triggers that refuse are gone."""
    engine = open_engine(url)
    with engine.begin() as tx:
        if engine.dialect.name == "sqlite":
            names = [row[0] for row in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
            for name in names:
                tx.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in ("entries", "batches"):
                tx.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    engine.dispose()


def execute(url: str, sql: str, **values: Any) -> None:
    engine = open_engine(url)
    with engine.begin() as tx:
        if engine.dialect.name == "sqlite":
            tx.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        tx.execute(text(sql), values)
    engine.dispose()


def columns(url: str) -> list[tuple[str, str]]:
    engine = open_engine(url)
    with engine.begin() as tx:
        found = [
            (table, column)
            for table in GUARDED
            for column in tx.exec_driver_sql(f"SELECT * FROM {table} LIMIT 0").keys()  # noqa: SIM118
        ]
    engine.dispose()
    return found


def flipped(value: Any, bit: int) -> Any:
    """The value with one bit of its own changed."""
    if isinstance(value, bytes | memoryview):
        raw = bytearray(value)
        raw[bit // 8 % len(raw)] ^= 1 << bit % 8
        return bytes(raw)
    if isinstance(value, str):
        place = bit // 3 % len(value) if value else 0
        return value[:place] + chr(ord(value[place]) ^ 1 << bit % 3) + value[place + 1 :] if value else "x"
    return "x" if value is None else value ^ 1 << bit % 15


def test_an_untouched_ledger_is_whole(url: str, tmp_path: Path) -> None:
    filled(url, tmp_path)
    assert checked(url, tmp_path) == Verdict(ok=True, batches=6, entries=18, problems=())


def tampered(url: str, table: str, column: str, row: Any, value: Any) -> Any:
    """Changes one cell, past every key and trigger; answers where its row is now."""
    engine = create_engine(normalised(url))
    where = "ctid" if engine.dialect.name == "postgresql" else "rowid"
    with engine.begin() as tx:
        if engine.dialect.name == "postgresql":
            tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        change = text(f"UPDATE {table} SET {column} = :value WHERE {where} = :row RETURNING {where}")
        found = tx.execute(change, {"value": value, "row": row}).scalar_one()
    engine.dispose()
    return found


@pytest.mark.parametrize("bit", [5, 13, 71])
def test_every_column_of_every_guarded_table_is_covered(url: str, tmp_path: Path, bit: int) -> None:
    filled(url, tmp_path, writers=1, flushes=2)
    unguard(url)
    where = "ctid" if "postgres" in url else "rowid"
    for table, column in columns(url):
        ((row, value),) = query(
            url, f"SELECT {where}, {column} FROM {table} ORDER BY {column} IS NULL, {column} LIMIT 1 OFFSET 1"
        )
        moved = tampered(url, table, column, row, flipped(value, bit))
        assert not checked(url, tmp_path).ok, f"{table}.{column}: {value!r} became {flipped(value, bit)!r}"
        tampered(url, table, column, moved, value)
        assert checked(url, tmp_path).ok, f"{table}.{column} was put back"


def test_a_changed_row_names_its_batch_and_its_rows(url: str, tmp_path: Path) -> None:
    filled(url, tmp_path)
    unguard(url)
    (batch_id,) = query(url, "SELECT id FROM batches ORDER BY id LIMIT 1 OFFSET 2")[0]
    ids = tuple(row[0] for row in query(url, f"SELECT id FROM entries WHERE batch_id = {batch_id} ORDER BY id"))
    execute(url, f"UPDATE entries SET output_tokens = output_tokens + 1 WHERE id = {ids[1]}")
    found = [problem for problem in checked(url, tmp_path).problems if problem.kind == "batch"]
    assert [(problem.batch_id, problem.entry_ids) for problem in found] == [(batch_id, ids)]


@pytest.mark.parametrize("rows", ["= (SELECT max(id) FROM batches)", "> (SELECT min(id) FROM batches)", "> 0"])
def test_a_cut_tail_shows_also_after_more_was_written(url: str, tmp_path: Path, rows: str) -> None:
    filled(url, tmp_path, writers=1)
    unguard(url)
    chosen = ", ".join(str(row[0]) for row in query(url, f"SELECT id FROM batches WHERE id {rows}"))
    execute(url, f"DELETE FROM entries WHERE batch_id IN ({chosen})")
    execute(url, f"DELETE FROM batches WHERE id IN ({chosen})")
    execute(url, "DELETE FROM usage_quarters")
    execute(url, "DELETE FROM usage_days")
    assert "tail" in {problem.kind for problem in checked(url, tmp_path).problems}
    with_more = Books(url, tmp_path / "journal0", clock=now_us, state=tmp_path)
    with_more.open()
    with_more.reserve_and_dispatch(hold(99))
    with_more.settle(hold(99), USAGE, 5, EntryKind.ACTUAL)
    with_more.close()
    assert "tail" in {problem.kind for problem in checked(url, tmp_path).problems}


def test_a_batch_taken_out_of_the_middle_shows(url: str, tmp_path: Path) -> None:
    filled(url, tmp_path, writers=1)
    unguard(url)
    (batch_id,) = query(url, "SELECT id FROM batches ORDER BY id LIMIT 1 OFFSET 1")[0]
    execute(url, f"DELETE FROM entries WHERE batch_id = {batch_id}")
    execute(url, f"DELETE FROM batches WHERE id = {batch_id}")
    assert {"chain"} <= {problem.kind for problem in checked(url, tmp_path).problems}


@pytest.mark.parametrize("table", ["usage_quarters", "usage_days"])
def test_sums_that_reports_read_are_those_of_the_entries(url: str, tmp_path: Path, table: str) -> None:
    filled(url, tmp_path, writers=1)
    unguard(url)
    execute(url, f"UPDATE {table} SET cost_nano_usd = cost_nano_usd + 1 WHERE account_id = 1")
    assert "usage" in {problem.kind for problem in checked(url, tmp_path).problems}


def test_a_head_is_worth_nothing_without_its_signature(sqlite_url: str, tmp_path: Path) -> None:
    filled(sqlite_url, tmp_path, writers=1)
    path = tmp_path / "ledger" / "heads" / "0.json"
    assert path.stat().st_size == HEAD_BYTES
    assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text())
    document["head"]["last_id"] -= 4096
    path.write_text(json.dumps(document))
    assert read_heads(tmp_path) == {"0.json": None}
    assert "not signed" in checked(sqlite_url, tmp_path).problems[0].sentence
    path.unlink()
    assert "no signed head" in checked(sqlite_url, tmp_path).problems[0].sentence


def test_a_shared_writers_newest_head_stays(url: str, tmp_path: Path) -> None:
    filled(url, tmp_path, writers=1)
    ends = query(url, "SELECT last_id, hash, prev_hash FROM batches ORDER BY id")
    engine = open_engine(url)
    heads = Heads(tmp_path, engine)
    for last_id, digest, prev_hash in reversed(ends):
        heads.put(0, (last_id, bytes(digest)), bytes(prev_hash), 1, shared=True)
    engine.dispose()
    (head,) = read_heads(tmp_path).values()
    assert head is not None
    assert head.last_id == ends[-1][0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("sound")
    migrate(f"sqlite:///{state}/books.db")
    filled(f"sqlite:///{state}/books.db", state)
    query(f"sqlite:///{state}/books.db", "PRAGMA wal_checkpoint(TRUNCATE)")
    return state


def guarded_rows(url: str) -> list[Any]:
    engine = open_engine(url)
    try:
        with engine.begin() as tx:
            return [
                [tuple(row) for row in tx.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in GUARDED
            ]
    finally:
        engine.dispose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_of_the_file_is_found_or_changes_nothing(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    state = tmp_path_factory.mktemp("flipped")
    shutil.copytree(sound, state, dirs_exist_ok=True)
    path = state / "books.db"
    image = bytearray(path.read_bytes())
    before = guarded_rows(f"sqlite:///{sound}/books.db")
    marks = [place for word in (b"req_0", b"feature", b"gpt-5") for place in _all_places(image, word)]
    near = st.sampled_from(marks).flatmap(lambda place: st.integers(max(place - 40, 100), place + 120))
    place = data.draw(near | st.integers(100, len(image) - 1))
    image[place % len(image)] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(image)
    url = f"sqlite:///{path}"
    if checked(url, state).ok:
        assert guarded_rows(url) == before
    shutil.rmtree(state)


def _all_places(image: bytearray, word: bytes) -> list[int]:
    places, at = [], image.find(word)
    while at >= 0:
        places.append(at)
        at = image.find(word, at + 1)
    return places


def test_usage_of_nothing_is_whole(url: str, tmp_path: Path) -> None:
    assert checked(url, tmp_path) == Verdict(ok=True, batches=0, entries=0, problems=())
