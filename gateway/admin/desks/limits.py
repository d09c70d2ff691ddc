"""Limits of models: how many requests and tokens a minute, and how many at once, for everybody together."""

from typing import Final

from billing.model_limits import ModelLimit
from billing.refusals import Stale
from gateway.admin import limit_shapes as shapes
from gateway.admin.desks.counter import Counter
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.problem import Problem


class LimitDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._rows: Final = counter.store.model_limits

    def page(self, limit: int, after: str | None) -> shapes.ModelLimitsPage:
        found = sorted(
            (one for one in self._rows.list() if after is None or one.model > after), key=lambda one: one.model
        )
        data, more = found[:limit], len(found) > limit
        return shapes.ModelLimitsPage(
            data=[limits_shown(one) for one in data], has_more=more, next=data[-1].model if more else None
        )

    def get(self, model: str) -> shapes.LimitsOfModel:
        found = self._rows.get(model)
        if found is None:
            raise Problem(
                "not_found", f"`{model[:100]}` has no limits of its own; GET /admin/v1/limits lists those that have."
            )
        return limits_shown(found)

    def create(self, by: Caller, asked: shapes.LimitsAsked, key: str | None) -> shapes.LimitsOfModel:
        def make(by: Caller) -> shapes.LimitsOfModel:
            try:
                made = self._rows.set(asked.model, asked.limits(), 0, by.actor, self._counter.now())
            except Stale as error:
                detail = f"`{asked.model}` has limits: change them with PATCH /admin/v1/limits/{asked.model}."
                raise Problem("already_exists", detail) from error
            self._counter.changed("limits")
            return limits_shown(made)

        return self._counter.once(by, "limits", key, asked, make, shapes.LimitsOfModel)

    def update(self, by: Caller, model: str, change: shapes.LimitsChange, if_match: str | None) -> shapes.LimitsOfModel:
        """What is not sent stays; null takes a bound away."""
        with self._counter.lock:
            present = self.get(model)
            merged = {**present.limits(), **change.model_dump(exclude_unset=True)}
            limits = {name: value for name, value in merged.items() if value is not None}
            version = version_seen(if_match, present)
            changed = self._rows.set(model, limits, version, by.actor, self._counter.now())
        self._counter.changed("limits")
        return limits_shown(changed)

    def delete(self, by: Caller, model: str, if_match: str | None) -> None:
        with self._counter.lock:
            version = version_seen(if_match, self.get(model))
            self._rows.delete(model, version, by.actor, self._counter.now())
        self._counter.changed("limits")


def limits_shown(one: ModelLimit) -> shapes.LimitsOfModel:
    return shapes.LimitsOfModel.model_validate({**one.limits, "model": one.model, "version": one.version})
