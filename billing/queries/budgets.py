"""Budget accounts and the leases on them: what admission and the flusher ask of the database."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, or_, select, update

from billing import tables as t
from billing.queries.rows import any_of, change, insert, with_ids
from billing.scopes import Account, Rule
from billing.usage_span import QUARTER_US
from billing.windows import Window

_BUDGET_LOCK: Final = 0x62756467  # any number, of PostgreSQL's advisory locks
_KEYS_IN_ONE: Final = 100

_a = t.budget_accounts.c
_l = t.leases.c


class AccountRow(NamedTuple):
    id: int
    budget_id: str
    subject: str
    window_start_us: int
    limit_nano_usd: int | None
    posted_nano_usd: int
    pending_nano_usd: int
    contended_until_us: int


class LeaseRow(NamedTuple):
    account_id: int
    boot_id: str
    amount_nano_usd: int
    open_nano_usd: int
    holds: int


class LeaseChange(NamedTuple):
    account_id: int
    journal: str
    boot_id: str
    amount_nano_usd: int  # added to what is there
    open_nano_usd: int  # and these stand for what is there
    holds: int
    serial: int
    taken_at_us: int


# Text where admission and the flusher come along: putting a statement together costs more than executing it, while the
# event loop waits for the interpreter.
_ACCOUNTS: Final = f"SELECT {', '.join(AccountRow._fields)} FROM budget_accounts WHERE id {{ids}}"  # noqa: S608
_LOCKED: Final = " ORDER BY id FOR UPDATE"
_LEASES: Final = f"SELECT {', '.join(LeaseRow._fields)} FROM leases WHERE account_id {{ids}}"  # noqa: S608
_CHANGE_PENDING: Final = (
    "UPDATE budget_accounts SET pending_nano_usd = pending_nano_usd + ?, contended_until_us = ? WHERE id = ?"
)
_TELL_LEASE: Final = "UPDATE leases SET open_nano_usd = ?, holds = ? WHERE account_id = ? AND boot_id = ?"
_POST: Final = (
    "UPDATE budget_accounts SET posted_nano_usd = posted_nano_usd + ?, pending_nano_usd = pending_nano_usd - ?"
    " WHERE id = ?"
)
_TAKE: Final = "UPDATE leases SET amount_nano_usd = amount_nano_usd - ? WHERE account_id = ? AND boot_id = ?"


def share_budgets(tx: Connection) -> None:
    """Until the transaction ends no budget is made or changed; `own_budgets` waits for everybody who shares."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock_shared(_BUDGET_LOCK)))


def own_budgets(tx: Connection) -> None:
    """For who makes or changes a budget: entries under way are posted before, or find it."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_BUDGET_LOCK)))


def budget_rules(tx: Connection) -> list[Rule]:
    b = t.budgets.c
    columns = (
        *(b.id, b.scope_type, b.scope_id, b.scope_team_id, b.limit_nano_usd, b.soft_limit_nano_usd),
        *(b.window, b.timezone, b.over_budget),
    )
    rows = tx.execute(select(*columns).where(b.deleted_at_us.is_(None)).order_by(b.created_at_us, b.id))
    return [Rule(*row[:6], Window(row[6]), row[7], row[8]) for row in rows]


def stand_before(tx: Connection, wanted: Sequence[tuple[Rule, Account, int]]) -> list[AccountRow]:
    """The accounts, made where missing and locked in the order of their ids, so that nothing deadlocks."""
    ids = account_ids(tx, [(rule, account) for rule, account, known in wanted if not known])
    places = [known or ids[account] for _, account, known in wanted]
    lock = _LOCKED if tx.dialect.name == "postgresql" else ""
    found = {row[0]: AccountRow(*row) for row in with_ids(tx, _ACCOUNTS + lock, sorted(set(places)))}
    return [found[place] for place in places]


def account_ids(tx: Connection, wanted: Iterable[tuple[Rule, Account]]) -> dict[Account, int]:
    """Ids by account. One that is new begins with what its window has spent already."""
    rules = {account: rule for rule, account in wanted}
    if not rules:
        return {}
    ids = _known_ids(tx, rules)
    missing = sorted(rules.keys() - ids.keys())
    if missing:
        limits = _limits_now(tx, {account.budget_id for account in missing})
        rows = [
            (*account[:4], limits.get(account.budget_id), spent(tx, rules[account], account), 0, 0)
            for account in missing
        ]
        columns = tuple(name for name in t.budget_accounts.c.keys() if name != "id")  # noqa: SIM118 - not a dict
        insert(tx, "budget_accounts", columns, rows, " ON CONFLICT (budget_id, subject, window_start_us) DO NOTHING")
        ids.update(_known_ids(tx, missing))
    return ids


def _limits_now(tx: Connection, budget_ids: Iterable[str]) -> dict[str, int | None]:
    """As the budgets stand, not as a worker last read them: an account keeps the limit that it is made with. Locked
    against whoever changes one, who finds the accounts made until then.
    """
    b = t.budgets.c
    statement = select(b.id, b.limit_nano_usd).where(b.id.in_(sorted(budget_ids)), b.deleted_at_us.is_(None))
    if tx.dialect.name == "postgresql":
        statement = statement.order_by(b.id).with_for_update(key_share=True, read=True)
    return {row.id: row.limit_nano_usd for row in tx.execute(statement)}


def _known_ids(tx: Connection, accounts: Iterable[Account]) -> dict[Account, int]:
    by_key = {account[:3]: account for account in accounts}
    keys = sorted(by_key)
    found: dict[Account, int] = {}
    for at in range(0, len(keys), _KEYS_IN_ONE):
        few = any_of((_a.budget_id, _a.subject, _a.window_start_us), keys[at : at + _KEYS_IN_ONE])
        statement = select(_a.id, _a.budget_id, _a.subject, _a.window_start_us).where(few)
        found.update((by_key[row[1], row[2], row[3]], row[0]) for row in tx.execute(statement))
    return found


def spent(tx: Connection, rule: Rule, account: Account) -> int:
    """What the ledger has for this account's subject in its window, from the roll-ups."""
    q = t.usage_quarters.c
    statement = (
        select(func.coalesce(func.sum(q.cost_nano_usd), 0))
        .select_from(t.usage_quarters.join(t.accounts, t.accounts.c.id == q.account_id))
        .where(q.quarter >= account.start_us // QUARTER_US, scoped(rule, account.subject))
    )
    if account.end_us is not None:
        statement = statement.where(q.quarter < account.end_us // QUARTER_US)
    return int(tx.execute(statement).scalar_one())


def scoped(rule: Rule, subject: str) -> ColumnElement[bool]:
    """Which cost accounts of the ledger a budget's subject is made of: `Rulebook.accounts`, said to the database."""
    c = t.accounts.c
    kind = rule.scope_type
    if kind == "tag":
        name, _, value = subject.partition("=")
        tag = t.account_tags.c
        tagged = select(tag.account_id).where(tag.name == name, tag.value == value)
        return c.id.in_(tagged)
    if kind == "member":
        team, _, user = subject.partition("/")
        return and_(c.team_id == team, c.user_id == user)
    if kind == "model":
        named = or_(c.model == subject, c.provider + "/" + c.model == subject)
        return and_(named, c.team_id == rule.scope_team_id) if rule.scope_team_id is not None else named
    column = {"organization": c.organization_id, "team": c.team_id, "user": c.user_id, "key": c.key_id}
    return {**column, "end_user": c.end_user, "provider": c.provider}[kind] == subject


def leases_of(tx: Connection, ids: Iterable[int]) -> list[LeaseRow]:
    return [LeaseRow(*row) for row in with_ids(tx, _LEASES, sorted(set(ids)))]


def lease_serial(tx: Connection, account_id: int, boot_id: str) -> int | None:
    statement = select(_l.serial).where(_l.account_id == account_id, _l.boot_id == boot_id)
    return tx.execute(statement).scalar_one_or_none()


def change_pending(tx: Connection, changes: Sequence[tuple[int, int, int]]) -> None:
    """Rows: account, what is added to its pending amount, until when it is contended."""
    change(tx, _CHANGE_PENDING, [(more, until, of) for of, more, until in sorted(changes)])


def change_leases(tx: Connection, changes: Sequence[LeaseChange]) -> None:
    insert(
        tx,
        "leases",
        LeaseChange._fields,
        sorted(changes),
        " ON CONFLICT (account_id, boot_id) DO UPDATE SET"
        " amount_nano_usd = leases.amount_nano_usd + excluded.amount_nano_usd,"
        " open_nano_usd = excluded.open_nano_usd, holds = excluded.holds, serial = excluded.serial",
    )


def tell_leases(tx: Connection, told: Iterable[tuple[int, int, int]], boot_id: str) -> None:
    """Rows: account, what is open on this boot's lease of it, in how many holds."""
    change(tx, _TELL_LEASE, [(opened, holds, of, boot_id) for of, opened, holds in sorted(told)])


def post_to_accounts(tx: Connection, more: Mapping[int, int], less: Mapping[int, int], boot_id: str) -> None:
    """Adds what a batch spent to its accounts, and takes what came out of this worker's leases from them."""
    change(tx, _POST, [(more.get(of, 0), less.get(of, 0), of) for of in sorted(more.keys() | less.keys())])
    change(tx, _TAKE, [(amount, of, boot_id) for of, amount in sorted(less.items()) if amount])


def take_from_leases(tx: Connection, spent: Mapping[int, int], journal: str) -> None:
    """What a harmed journal still told of is posted: so much less of what it had leased is in doubt."""
    for of, amount in sorted(spent.items()):
        left = amount
        rows = tx.execute(select(_l.id, _l.amount_nano_usd).where(_l.account_id == of, _l.journal == journal))
        for lease_id, leased in [(row.id, row.amount_nano_usd) for row in rows]:
            less = max(min(left, leased), 0)
            left -= less
            tx.execute(update(t.leases).where(_l.id == lease_id).values(amount_nano_usd=leased - less))
            more = _a.pending_nano_usd - less
            tx.execute(update(t.budget_accounts).where(_a.id == of).values(pending_nano_usd=more))


def account_rows(tx: Connection, ids: Iterable[int]) -> list[AccountRow]:
    return [AccountRow(*row) for row in with_ids(tx, _ACCOUNTS, sorted(set(ids)))]


def return_leases(tx: Connection, journal: str, boot_id: str) -> int:
    """Frees what earlier boots of this journal had leased: everything in it that was spent is posted."""
    mine = and_(_l.journal == journal, _l.boot_id != boot_id)
    left: dict[int, int] = {}
    for account_id, amount in tx.execute(select(_l.account_id, _l.amount_nano_usd).where(mine)):
        left[account_id] = left.get(account_id, 0) + amount
    if left:
        stand_locked(tx, left)
        statement = (
            update(t.budget_accounts)
            .where(_a.id == bindparam("of"))
            .values(pending_nano_usd=_a.pending_nano_usd - bindparam("less"))
        )
        tx.execute(statement, [{"of": of, "less": less} for of, less in sorted(left.items())])
        tx.execute(delete(t.leases).where(mine))
    return len(left)


def stand_locked(tx: Connection, ids: Iterable[int]) -> None:
    """Locks accounts in the order of their ids."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(_a.id).where(_a.id.in_(sorted(set(ids)))).order_by(_a.id).with_for_update())


def drop_empty_leases(tx: Connection, boot_id: str) -> None:
    """Of a worker that goes: rows that hold nothing."""
    tx.execute(delete(t.leases).where(_l.boot_id == boot_id, _l.amount_nano_usd == 0, _l.holds == 0))
