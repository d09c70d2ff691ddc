"""The audit log: who changed what, and whether the log itself is as it was written."""

from typing import Final

from billing.audit import AuditRow
from gateway.admin import audit_shapes as shapes
from gateway.admin.desks.counter import Counter
from gateway.admin.instant import instant_text


class AuditDesk:
    def __init__(self, counter: Counter) -> None:
        self._log: Final = counter.store.audit
        self._state: Final = counter.rooms.state

    def page(self, asked: shapes.AuditAsked) -> shapes.Audit:
        page = self._log.page(asked.limit, asked.after, asked.object_id, asked.action, asked.actor_id)
        return shapes.Audit(data=[row_shown(row) for row in page.data], has_more=page.has_more, next=page.next)

    def verify(self) -> shapes.AuditVerdict:
        wrong = [str(row_id) for row_id in self._log.verify()]
        missing = self._log.lost(self._state) if self._state is not None else ()
        return shapes.AuditVerdict(ok=not wrong and not missing, row_ids=wrong, missing=list(missing))


def row_shown(row: AuditRow) -> shapes.AuditRow:
    return shapes.AuditRow(
        id=str(row.id),
        at=instant_text(row.at_us),
        actor=shapes.Actor(type=row.actor.type, id=row.actor.id),
        action=row.action,
        object_id=row.object_id,
        before=None if row.before is None else dict(row.before),
        after=None if row.after is None else dict(row.after),
        hash=row.hash.hex(),
    )
