"""Every desk of one gateway, over one counter."""

from dataclasses import dataclass
from typing import Self

from gateway.admin.desks.audit import AuditDesk
from gateway.admin.desks.budgets import BudgetDesk
from gateway.admin.desks.counter import Counter
from gateway.admin.desks.keys import KeyDesk
from gateway.admin.desks.ledger import LedgerDesk
from gateway.admin.desks.limits import LimitDesk
from gateway.admin.desks.organizations import OrganizationDesk
from gateway.admin.desks.teams import TeamDesk
from gateway.admin.desks.users import UserDesk
from gateway.admin.prices import PriceDesk
from gateway.admin.rooms import AdminRooms


@dataclass(frozen=True, slots=True)
class Desks:
    organizations: OrganizationDesk
    teams: TeamDesk
    users: UserDesk
    keys: KeyDesk
    budgets: BudgetDesk
    limits: LimitDesk
    prices: PriceDesk
    ledger: LedgerDesk
    audit: AuditDesk

    @classmethod
    def over(cls, rooms: AdminRooms) -> Self:
        counter = Counter(rooms)
        return cls(
            OrganizationDesk(counter),
            TeamDesk(counter),
            UserDesk(counter),
            KeyDesk(counter),
            BudgetDesk(counter),
            LimitDesk(counter),
            PriceDesk(counter),
            LedgerDesk(counter),
            AuditDesk(counter),
        )
