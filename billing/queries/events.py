"""What budgets have told, and to which webhook it was delivered."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, or_, select, update

from billing import tables as t
from billing.alerts import BudgetEvent
from billing.queries.rows import insert, mark

_e = t.budget_events.c
_d = t.event_deliveries.c
_COLUMNS = ("account_id", "threshold", "id", "type", "posted_nano_usd", "at_us", "document")
_WAITING = (_d.delivered_at_us.is_(None), _d.given_up_at_us.is_(None))


def insert_event(tx: Connection, event: BudgetEvent) -> bool:
    """False where this account has told this threshold before."""
    marks = ", ".join([mark(tx)] * len(_COLUMNS))
    done = tx.exec_driver_sql(
        f"INSERT INTO budget_events ({', '.join(_COLUMNS)}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
        tuple(getattr(event, name) for name in _COLUMNS),
    )
    return done.rowcount == 1


def insert_deliveries(tx: Connection, rows: Sequence[tuple[str, str]]) -> None:
    """Rows: webhook, event."""
    insert(tx, "event_deliveries", ("webhook", "event_id"), rows)


def waiting_events(tx: Connection, webhook: str, limit: int) -> list[BudgetEvent]:
    """Those that the webhook has not got yet, in the order in which they came to be."""
    events = t.event_deliveries.join(t.budget_events, _e.id == _d.event_id)
    columns = (_e.id, _e.type, _e.account_id, _e.threshold, _e.posted_nano_usd, _e.at_us, _e.document)
    statement = select(*columns).select_from(events).where(_d.webhook == webhook, *_WAITING)
    return [BudgetEvent(*row) for row in tx.execute(statement.order_by(_d.id).limit(limit))]


def end_delivery(tx: Connection, webhook: str, event_id: str, *, at_us: int, delivered: bool) -> None:
    values = {"delivered_at_us" if delivered else "given_up_at_us": at_us}
    tx.execute(update(t.event_deliveries).where(_d.webhook == webhook, _d.event_id == event_id).values(values))


def give_up_oldest(tx: Connection, webhook: str, kept: int, at_us: int) -> int:
    """Of more than `kept` waiting the oldest are given up. Answers how many."""
    newest = select(_d.id).where(_d.webhook == webhook, *_WAITING).order_by(_d.id.desc()).offset(kept).limit(1)
    last = tx.execute(newest).scalar_one_or_none()
    if last is None:
        return 0
    done = tx.execute(
        update(t.event_deliveries).where(_d.webhook == webhook, *_WAITING, _d.id <= last).values(given_up_at_us=at_us)
    )
    return int(done.rowcount)


def count_waiting(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(t.event_deliveries).where(*_WAITING)).scalar_one())


def list_events(tx: Connection, limit: int, budget_id: str | None, after: str | None = None) -> list[BudgetEvent]:
    """The last ones, newest first; those behind the event `after`."""
    columns = (_e.id, _e.type, _e.account_id, _e.threshold, _e.posted_nano_usd, _e.at_us, _e.document)
    statement = select(*columns).order_by(_e.at_us.desc(), _e.id).limit(limit)
    if budget_id is not None:
        accounts = t.budget_events.join(t.budget_accounts, t.budget_accounts.c.id == _e.account_id)
        statement = statement.select_from(accounts).where(t.budget_accounts.c.budget_id == budget_id)
    if after is not None:
        at_us = tx.execute(select(_e.at_us).where(_e.id == after)).scalar_one_or_none()
        if at_us is None:
            return []
        statement = statement.where(or_(_e.at_us < at_us, and_(_e.at_us == at_us, _e.id > after)))
    return [BudgetEvent(*row) for row in tx.execute(statement)]
