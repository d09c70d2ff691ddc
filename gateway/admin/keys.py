"""`/admin/v1/keys`: made, changed, rotated and revoked; the secret is in a creation's answer and nowhere else, ever."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, KeysAsked, RotationAsked
from gateway.admin.by import By
from gateway.admin.desks.keys import KeyDesk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: KeyDesk) -> None:
    @app.get("/admin/v1/keys", tags=["keys"])
    def list_keys(by: By, asked: Annotated[KeysAsked, Query()]) -> shown.Keys:
        return desk.page(by, asked.limit, asked.after, asked.team_id, asked.user_id)

    @app.post("/admin/v1/keys", status_code=201, tags=["keys"])
    def create_key(
        by: By, asked: KeyAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shown.NewKey:
        made = desk.create(by, asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/keys/{key_id}", tags=["keys"])
    def get_key(by: By, key_id: str, answer: Response) -> shown.Key:
        found = desk.get(by, key_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/keys/{key_id}", tags=["keys"])
    def update_key(
        by: By, key_id: str, change: KeyChange, answer: Response, if_match: Annotated[str | None, Header()] = None
    ) -> shown.Key:
        changed = desk.update(by, key_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/keys/{key_id}", tags=["keys"])
    def revoke_key(by: By, key_id: str, if_match: Annotated[str | None, Header()] = None) -> shown.Key:
        """Revoke it. It is refused from now on, and stays in the list: reports still name it."""
        return desk.revoke(by, key_id, if_match)

    @app.post("/admin/v1/keys/{key_id}/rotate", status_code=201, tags=["keys"])
    def rotate_key(
        by: By,
        key_id: str,
        answer: Response,
        asked: RotationAsked | None = None,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> shown.NewKey:
        """Give the key a new secret. The old one goes on for `overlap_seconds`, then no more."""
        made = desk.rotate(by, key_id, asked or RotationAsked(), idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made
