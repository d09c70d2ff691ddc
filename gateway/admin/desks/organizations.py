"""Organizations: whom teams and users belong to."""

from typing import Final

from billing.organizations import Organization
from gateway.admin import tenancy_shapes as shapes
from gateway.admin.desks.counter import Counter, not_found
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.instant import instant_text
from gateway.admin.paging import seen


class OrganizationDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._rows: Final = counter.store.organizations

    def page(self, by: Caller, limit: int, after: str | None) -> shapes.Organizations:
        data, rest = seen(self._rows.list, lambda one: by.sight.organization(one.id), lambda one: one.id, limit, after)
        return shapes.Organizations(data=[organization_shown(one) for one in data], **rest._asdict())

    def get(self, by: Caller, organization_id: str) -> shapes.Organization:
        found = self._rows.get(organization_id) if by.sight.organization(organization_id) else None
        if found is None:
            raise not_found("organization", organization_id, "/admin/v1/organizations")
        return organization_shown(found)

    def create(self, by: Caller, asked: shapes.OrganizationAsked, key: str | None) -> shapes.Organization:
        def make(by: Caller) -> shapes.Organization:
            organization_id = asked.id or self._counter.new_id("org")
            made = self._rows.create(organization_id, asked.name, by.actor, self._counter.now())
            self._counter.changed("tenancy")
            return organization_shown(made)

        return self._counter.once(by, "organizations", key, asked, make, shapes.Organization)

    def update(
        self, by: Caller, organization_id: str, change: shapes.OrganizationChange, if_match: str | None
    ) -> shapes.Organization:
        with self._counter.lock:
            version = version_seen(if_match, self.get(by, organization_id))
            changes = change.model_dump(exclude_unset=True)
            changed = self._rows.update(organization_id, changes, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")
        return organization_shown(changed)

    def delete(self, by: Caller, organization_id: str, if_match: str | None) -> None:
        with self._counter.lock:
            version = version_seen(if_match, self.get(by, organization_id))
            self._rows.delete(organization_id, version, by.actor, self._counter.now())
        self._counter.changed("tenancy")


def organization_shown(one: Organization) -> shapes.Organization:
    return shapes.Organization(
        id=one.id, name=one.name, created_at=instant_text(one.created_at_us), version=one.version
    )
