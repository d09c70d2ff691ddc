from dataclasses import dataclass, replace, field
from typing import NamedTuple


class Page(NamedTuple):
    data: tuple
    has_more: bool
    next: str | None


@dataclass(frozen=True)
class Team:
    id: str
    name: str
    organization_id: str | None
    created_at_us: int


class Full(NamedTuple):
    row: object
    entries: tuple


def page(rows, limit, after):
    ids = [getattr(r, "id", None) or r.request_id for r in rows]
    start = ids.index(after) + 1 if after else 0
    d = rows[start : start + limit]
    more = len(rows) > start + limit
    return Page(tuple(d), more, (getattr(d[-1], "id", None) or d[-1].request_id) if more else None)


class FakeStore:
    def __init__(self):
        self.t = {}
        self.k = {}
        self.r = {}
        self.lines = {}

    def teams(self, limit, after):
        return page(list(self.t.values()), limit, after)

    def team(self, i):
        return self.t.get(i)

    def create_team(self, i, n, o, at):
        self.t[i] = Team(i, n, o, at)
        return self.t[i]

    def update_team(self, i, c):
        self.t[i] = replace(self.t[i], **c)
        return self.t[i]

    def delete_team(self, i):
        del self.t[i]

    def team_names(self):
        return {t.id: t.name for t in self.t.values()}

    def keys(self, limit, after, team_id):
        return page([k for k in self.k.values() if team_id in (None, k.team_id)], limit, after)

    def key(self, i):
        return self.k.get(i)

    def create_key(self, k):
        self.k[k.id] = k

    def update_key(self, i, c):
        self.k[i] = replace(self.k[i], **c)
        return self.k[i]

    def revoke_key(self, i, at):
        self.k[i] = replace(self.k[i], revoked_at_us=at)
        return self.k[i]

    def requests(self, limit, after):
        return page(list(self.r.values()), limit, after)

    def request(self, i):
        return self.r.get(i)

    def usage(self, columns, f, t, zone, filters):
        return dict(self.lines)
