"""LiteLLM's budgets as ours: whose, how much, until when. One whose period is no window here is told and left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from billing.money import usd_text
from gateway.cli.litellm.rows import Row, document, is_finer, mapping, nano_usd, number, text
from gateway.cli.litellm.windows import window_of

if TYPE_CHECKING:
    from gateway.cli.litellm.notes import Notes

USD_MAX: Final = Decimal(9_000_000_000)


@dataclass(slots=True)
class Budgets:
    timezone: str
    notes: Notes
    found: list[dict[str, Any]] = field(default_factory=list)
    rounded: int = 0
    """How many amounts had more than nine decimals."""

    def of_row(self, subject: str, scope: dict[str, str], row: Row, beside: Row | None = None) -> bool:
        """The row's own limit, else that of the budget beside it; then each further period that it names."""
        own = row if number(row, "max_budget") is not None else (beside or row)
        soft = number(row, "soft_budget")
        soft = number(beside or {}, "soft_budget") if soft is None else soft
        duration = text(own, "budget_duration") or text(row, "budget_duration")
        made = self.add(subject, scope, number(own, "max_budget"), soft, duration)
        further = document(row, "budget_limits")
        for part in further if isinstance(further, list) else []:
            if isinstance(part, dict):
                limit = number(part, "max_budget")
                limit = number(part, "budget_limit") if limit is None else limit
                period = text(part, "budget_duration") or text(part, "time_period")
                made |= self.add(subject, scope, limit, None, period)
        return made

    def of_models(self, subject: str, team_id: str, row: Row) -> None:
        for model, part in mapping(row, "model_max_budget").items():
            if not isinstance(part, dict):
                continue
            limit = number(part, "max_budget")
            limit = number(part, "budget_limit") if limit is None else limit
            period = text(part, "budget_duration") or text(part, "time_period")
            scope = {"type": "model", "id": model, "team_id": team_id}
            self.add(f"{subject}, model {model}", scope, limit, None, period)

    def add(
        self, subject: str, scope: dict[str, str], limit: Decimal | None, soft: Decimal | None, duration: str | None
    ) -> bool:
        if limit is None and soft is None:
            return False
        window = window_of(duration)
        if window is None:
            amount = limit if limit is not None else soft
            self.notes.add(
                subject,
                f"budget of ${amount} each {duration}: no window here ends when that does (hour, day, week, month, "
                "total); make one by hand with `turnpike budgets create`",
            )
            return False
        made: dict[str, Any] = {"scope": scope, "window": window}
        if window in ("day", "week", "month") and self.timezone != "UTC":
            made["timezone"] = self.timezone
        for name, amount in (("limit_usd", limit), ("soft_limit_usd", soft)):
            if amount is not None and (shown := self._amount(subject, name, amount)) is not None:
                made[name] = shown
        if not made.keys() & {"limit_usd", "soft_limit_usd"}:
            return False
        return self._only_one(subject, made)

    def _amount(self, subject: str, name: str, amount: Decimal) -> str | None:
        if not 0 <= amount < USD_MAX:
            self.notes.add(subject, f"{name} ${amount}: is no amount that a budget can have; it is left out")
            return None
        self.rounded += is_finer(amount)
        return usd_text(nano_usd(amount))

    def _only_one(self, subject: str, made: dict[str, Any]) -> bool:
        """Two limits for one period: the lower binds, so it is the one to have."""
        for other in self.found:
            if (other["scope"], other["window"]) == (made["scope"], made["window"]):
                self.notes.add(subject, f"two budgets for one {made['window']}: the lower one comes over")
                limits = [Decimal(one["limit_usd"]) for one in (other, made) if "limit_usd" in one]
                if limits:
                    other["limit_usd"] = usd_text(nano_usd(min(limits)))
                return True
        self.found.append(made)
        return True
