"""Fills the pages' views from the books, as far as the caller may see: the one place that knows how they are kept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from billing import keys as billing_keys
from billing.budget_store import AccountState, Point, Standing
from billing.store import Store, UsageLine
from gateway.admin.desks.all_desks import Desks
from gateway.admin.desks.budgets import demand_above
from gateway.admin.door import Caller
from gateway.admin.pages import views
from gateway.admin.paging import Paged, seen
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms
from gateway.admin.usage import Filters, usage_lines
from gateway.admin.usage_report import Group, Span

ROWS: Final = 50
SUBJECTS_NAMED_MAX: Final = 200  # of one budget, the fullest
CHOICES_MAX: Final = 1000  # of a list to choose from; who has more types the id

Row = TypeVar("Row")
Shown = TypeVar("Shown")


class Loader:
    def __init__(self, rooms: AdminRooms, desks: Desks, by: Caller) -> None:
        self.rooms: Final = rooms
        self.store: Final[Store] = rooms.store
        self.desks: Final = desks
        self.by: Final = by

    def organizations(self, after: str | None = None, limit: int = ROWS) -> views.Listed[views.Organization]:
        sight = self.by.sight
        return _listed(
            self.store.organizations.list, lambda one: sight.organization(one.id), _organization, limit, after
        )

    def organization(self, organization_id: str) -> views.Organization:
        found = self.store.organizations.get(organization_id)
        return _organization(_seen(found, self.by.sight.organization(organization_id), "organization", organization_id))

    def teams(
        self, after: str | None = None, limit: int = ROWS, organization_id: str | None = None
    ) -> views.Listed[views.Team]:
        def fetch(rows: int, behind: str | None) -> Paged[Any]:
            return self.store.teams(rows, behind, organization_id)

        return _listed(fetch, lambda one: self.by.sight.team(one.id), _team, limit, after)

    def team(self, team_id: str) -> views.Team:
        return _team(_seen(self.store.team(team_id), self.by.sight.team(team_id), "team", team_id))

    def members(self, *, team_id: str | None = None, user_id: str | None = None) -> tuple[views.Member, ...]:
        sight = self.by.sight
        found = self.store.members.list(team_id, user_id)
        return tuple(
            views.Member(one.team_id, one.user_id, one.created_at_us)
            for one in found
            if sight.team(one.team_id) and sight.user(one.user_id)
        )

    def users(
        self, after: str | None = None, limit: int = ROWS, organization_id: str | None = None
    ) -> views.Listed[views.User]:
        filters = {} if organization_id is None else {"organization_id": organization_id}

        def fetch(rows: int, behind: str | None) -> Paged[Any]:
            return self.store.users.list(rows, behind, filters)

        return _listed(fetch, lambda one: self.by.sight.user(one.id), _user, limit, after)

    def user(self, user_id: str) -> views.User:
        return _user(_seen(self.store.users.get(user_id), self.by.sight.user(user_id), "user", user_id))

    def keys(
        self, after: str | None = None, limit: int = ROWS, team_id: str | None = None, user_id: str | None = None
    ) -> views.Listed[views.Key]:
        def fetch(rows: int, behind: str | None) -> Paged[Any]:
            return self.store.keys(rows, behind, team_id, user_id)

        return _listed(fetch, lambda one: self.desks.keys.sees(self.by, one), _key, limit, after)

    def key(self, key_id: str) -> views.Key:
        found = self.store.key(key_id)
        return _key(_seen(found, found is not None and self.desks.keys.sees(self.by, found), "key", key_id))

    def budgets(
        self, after: str | None = None, limit: int = ROWS, filters: Mapping[str, str] | None = None
    ) -> views.Listed[views.Budget]:
        """Each with the fullest account of its open window."""

        def fetch(rows: int, behind: str | None) -> Paged[Any]:
            return self.store.budgets.list(rows, behind, filters)

        page = _listed(fetch, self._sees_budget, lambda one: one, limit, after)
        standings = self.desks.budgets.standings([one.id for one in page.data], 1)
        return views.Listed(tuple(_budget(standings[one.id]) for one in page.data if one.id in standings), page.next)

    def budgets_of(self, scope_type: str, scope_id: str) -> tuple[views.Budget, ...]:
        return self.budgets(None, CHOICES_MAX, {"scope_type": scope_type, "scope_id": scope_id}).data

    def fullest_budgets(self, count: int) -> tuple[views.Budget, ...]:
        """Those that are nearest to their limit."""
        limited = [one for one in self.budgets(None, CHOICES_MAX).data if one.limit_nano_usd is not None]
        return tuple(sorted(limited, key=_fullness, reverse=True)[:count])

    def budget(self, budget_id: str) -> views.Budget:
        found = self.store.budgets.get(budget_id)
        _seen(found, found is not None and self._sees_budget(found), "budget", budget_id)
        standing = self.desks.budgets.standings([budget_id], SUBJECTS_NAMED_MAX).get(budget_id)
        return _budget(_seen(standing, standing is not None, "budget", budget_id))

    def budget_to_change(self, budget_id: str) -> views.Budget:
        """Refuses those that the caller sees and does not stand above, as the change itself would."""
        found = self.budget(budget_id)
        demand_above(self.by, found.scope_type)
        return found

    def account(self, budget: views.Budget, subject: str | None) -> views.Account | None:
        """Of that subject if it is counted, or else the fullest; also one that is not among those shown."""
        shown = next((one for one in budget.accounts if one.subject == subject), None)
        if shown is None and subject is not None and budget.accounts_total > len(budget.accounts):
            found = self.desks.budgets.account(budget.id, subject)
            shown = None if found is None else _account(found)
        return shown or budget.fullest

    def history(self, budget_id: str, subject: str, from_us: int, to_us: int) -> tuple[Point, ...]:
        return self.store.budgets.history(budget_id, subject, from_us, to_us)

    def usage(self, columns: tuple[str, ...], span: Span, timezone: Any, filters: Filters) -> dict[Group, UsageLine]:
        return usage_lines(self.rooms, self.by.sight, columns, span, timezone, filters)

    def names(self, *kinds: str, key_ids: Iterable[str | None] = ()) -> views.Names:
        """By id what people call them, of the kinds that a page speaks of; of keys, which are many, by their ids."""
        sources: Mapping[str, Callable[[], Mapping[str, str]]] = {
            "organizations": self.store.organizations.names,
            "teams": self.store.team_names,
            "users": self.store.users.names,
        }
        wanted = sorted({one for one in key_ids if one})
        keys = {key.id: key.name for key in self.store.keys_of(wanted)} if wanted else {}
        return views.Names(**{kind: sources[kind]() for kind in kinds}, keys=keys)

    def names_of(self, budgets: Iterable[views.Budget]) -> views.Names:
        """Of whatever these budgets are for, and of whom they count."""
        of_keys = [one for one in budgets if one.scope_type == "key"]
        subjects = [account.subject for one in of_keys for account in one.accounts]
        key_ids = [*(one.scope_id for one in of_keys), *subjects]
        return self.names("organizations", "teams", "users", key_ids=key_ids)

    def _sees_budget(self, one: Any) -> bool:
        return self.desks.budgets.sees(self.by, one.scope_type, one.scope_id, one.scope_team_id)


def _listed(
    fetch: Callable[[int, str | None], Paged[Row]],
    keep: Callable[[Row], bool],
    view: Callable[[Any], Shown],
    limit: int,
    after: str | None,
) -> views.Listed[Shown]:
    data, rest = seen(fetch, keep, _id_of, limit, after)
    return views.Listed(tuple(view(one) for one in data), rest.next)


def _id_of(one: Any) -> str:
    found: str = one.id
    return found


def _seen(one: Any, sees: bool, what: str, its_id: str) -> Any:
    """What is another's is not there."""
    if one is None or not sees:
        raise Problem("not_found", f"There is no {what} with the id `{its_id[:100]}`: the list shows which there are.")
    return one


def _organization(one: Any) -> views.Organization:
    return views.Organization(one.id, one.name, one.version, one.created_at_us)


def _team(one: Any) -> views.Team:
    return views.Team(one.id, one.name, one.organization_id, one.version, one.created_at_us)


def _user(one: Any) -> views.User:
    return views.User(one.id, one.name, one.email, str(one.role), one.organization_id, one.version, one.created_at_us)


def _key(one: billing_keys.Key) -> views.Key:
    return views.Key(
        one.id,
        one.name,
        one.prefix,
        one.team_id,
        one.user_id,
        one.models_allowed,
        one.limits,
        one.created_at_us,
        one.expires_at_us,
        one.revoked_at_us,
        one.version,
    )


def _budget(standing: Standing) -> views.Budget:
    one = standing.budget
    return views.Budget(
        one.id,
        one.scope_type,
        one.scope_id,
        one.scope_team_id,
        one.limit_nano_usd,
        one.soft_limit_nano_usd,
        str(one.window),
        one.timezone,
        one.over_budget,
        one.version,
        one.created_at_us,
        tuple(sorted(map(_account, standing.accounts), key=_emptiness)),
        standing.accounts_total,
    )


def _account(state: AccountState) -> views.Account:
    return views.Account(
        state.subject,
        state.window_start_us,
        state.window_end_us,
        state.limit_nano_usd,
        state.posted_nano_usd,
        state.pending_nano_usd,
    )


def _emptiness(account: views.Account) -> tuple[int, int, str]:
    return -account.used_permille - account.held_permille, -account.posted_nano_usd, account.subject


def _fullness(budget: views.Budget) -> int:
    fullest = budget.fullest
    return 0 if fullest is None else fullest.used_permille + fullest.held_permille
