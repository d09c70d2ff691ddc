"""What everybody together may ask of models, by a pattern of their names: requests and tokens a minute, at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from billing import queries
from billing.audit import Actor
from billing.changes import LIMITS, Change
from billing.database import writing
from billing.demands import demand_id, demand_version
from billing.limits import demand_limits
from billing.queries import limits as q
from billing.refusals import Invalid, NotFound, Stale

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, object]).decode


@dataclass(frozen=True, slots=True)
class ModelLimit:
    """`limits` as `billing.limits` reads it, less what says nothing."""

    model: str
    limits: Mapping[str, object]
    version: int


class ModelLimits:
    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = writing(engine)

    def list(self) -> tuple[ModelLimit, ...]:
        with self._reading.begin() as tx:
            return tuple(_of(row) for row in q.list_model_limits(tx))

    def get(self, model: str) -> ModelLimit | None:
        with self._reading.begin() as tx:
            row = q.get_model_limits(tx, model)
        return _of(row) if row else None

    def set(
        self, model: str, limits: Mapping[str, object], version: int | None, actor: Actor, now_at_us: int
    ) -> ModelLimit:
        """In the place of what there was. With `version`, only if nobody changed it since; 0 is of one that is new."""
        demand_id("model", model)
        demand_limits(limits, of_model=True)
        document = {name: value for name, value in limits.items() if value is not None}
        if not document:
            raise Invalid(f"limits of {model!r} that limit nothing: delete them instead")
        try:
            with self._writing.begin() as tx:
                return self._put(tx, model, document, version, Change(actor, now_at_us, "model_limits.set", model))
        except IntegrityError:
            raise Stale(f"somebody gave {model!r} limits just now: read them again") from None

    def delete(self, model: str, version: int | None, actor: Actor, now_at_us: int) -> None:
        with self._writing.begin() as tx:
            before = _locked(tx, model)
            if before is None:
                raise NotFound(f"no limits of model {model!r}: list them to see which there are")
            demand_version(before.version, version)
            q.delete_model_limits(tx, model)
            Change(actor, now_at_us, "model_limits.delete", model).note(tx, _told(before), None, [LIMITS])

    def _put(
        self, tx: Connection, model: str, document: dict[str, object], version: int | None, change: Change
    ) -> ModelLimit:
        before = _locked(tx, model)
        demand_version(0 if before is None else before.version, version)
        text = _encode(document).decode()
        if before is None:
            q.insert_model_limits(tx, model, text)
        elif before.limits == document:
            return before
        else:
            q.update_model_limits(tx, model, text)
        after = _locked(tx, model)
        assert after is not None
        change.note(tx, None if before is None else _told(before), _told(after), [LIMITS])
        return after


def _locked(tx: Connection, model: str) -> ModelLimit | None:
    row = q.get_model_limits(tx, model, locked=True)
    return _of(row) if row else None


def _of(row: queries.Row) -> ModelLimit:
    model, document, version = row
    return ModelLimit(model, _decode(document), version)


def _told(one: ModelLimit) -> dict[str, object]:
    return {"model": one.model, "limits": one.limits}
