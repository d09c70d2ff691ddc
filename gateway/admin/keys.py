"""`/admin/v1/keys`: made, changed, rotated and revoked; the secret is in a creation's answer and nowhere else, ever."""

from typing import Annotated

from fastapi import FastAPI, Header, Query
from starlette.responses import Response

from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, KeysAsked, RotationAsked
from gateway.admin.desk import Desk
from gateway.admin.etag import etag_of


def add(app: FastAPI, desk: Desk) -> None:
    @app.get("/admin/v1/keys", tags=["keys"])
    def list_keys(asked: Annotated[KeysAsked, Query()]) -> shown.Keys:
        return desk.keys(asked.limit, asked.after, asked.team_id)

    @app.post("/admin/v1/keys", status_code=201, tags=["keys"])
    def create_key(
        asked: KeyAsked, answer: Response, idempotency_key: Annotated[str | None, Header()] = None
    ) -> shown.NewKey:
        made = desk.create_key(asked, idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made

    @app.get("/admin/v1/keys/{key_id}", tags=["keys"])
    def get_key(key_id: str, answer: Response) -> shown.Key:
        found = desk.key(key_id)
        answer.headers["etag"] = etag_of(found)
        return found

    @app.patch("/admin/v1/keys/{key_id}", tags=["keys"])
    def update_key(
        key_id: str, change: KeyChange, answer: Response, if_match: Annotated[str | None, Header()] = None
    ) -> shown.Key:
        changed = desk.update_key(key_id, change, if_match)
        answer.headers["etag"] = etag_of(changed)
        return changed

    @app.delete("/admin/v1/keys/{key_id}", tags=["keys"])
    def revoke_key(key_id: str, if_match: Annotated[str | None, Header()] = None) -> shown.Key:
        """Revoke it. It is refused from now on, and stays in the list: reports still name it."""
        return desk.revoke_key(key_id, if_match)

    @app.post("/admin/v1/keys/{key_id}/rotate", status_code=201, tags=["keys"])
    def rotate_key(
        key_id: str,
        answer: Response,
        asked: RotationAsked | None = None,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> shown.NewKey:
        """Give the key a new secret. The old one goes on for `overlap_seconds`, then no more."""
        made = desk.rotate_key(key_id, asked or RotationAsked(), idempotency_key)
        answer.headers["etag"] = etag_of(made)
        return made
