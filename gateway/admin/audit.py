"""`/admin/v1/audit`: who changed what, newest first, and whether the log is as it was written."""

from typing import Annotated

from fastapi import FastAPI, Query

from gateway.admin import audit_shapes as shapes
from gateway.admin.desks.audit import AuditDesk


def add(app: FastAPI, desk: AuditDesk) -> None:
    @app.get("/admin/v1/audit", tags=["audit"])
    def list_audit(asked: Annotated[shapes.AuditAsked, Query()]) -> shapes.Audit:
        return desk.page(asked)

    @app.get("/admin/v1/audit/verify", tags=["audit"])
    def verify() -> shapes.AuditVerdict:
        """Reads the whole log and follows its chain of hashes."""
        return desk.verify()
