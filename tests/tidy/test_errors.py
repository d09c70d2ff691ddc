"""Every exception that a sibling may raise at the gateway has a row in the table that renders errors."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Final

from tests.tidy.repository import SIBLINGS, importable_modules

# Rendered elsewhere: by the admin API's own table, or as one line by the command that starts or installs something.
# A name stands here only if no request on the data plane can meet it.
ELSEWHERE: Final = frozenset(
    {
        "billing.audit.TakenOver",
        "billing.books.FlushTimedOut",
        "billing.cost_export.ExportUnreadable",
        "billing.database.UnsupportedDatabase",
        "billing.heads.HeadUnsigned",
        "billing.idempotency.BeingMade",
        "billing.idempotency.MadeUnanswered",
        "billing.idempotency.OtherBody",
        "billing.journal.JournalInUse",
        "billing.migrating.MigrationFailed",
        "billing.price_import.BadPrices",
        "billing.price_rows.BadPrice",
        "billing.reconcile.NoRate",
        "billing.recovery.JournalUnreadable",
        "billing.refusals.AlreadyExists",
        "billing.refusals.Conflict",
        "billing.refusals.Invalid",
        "billing.refusals.NotFound",
        "billing.refusals.Stale",
        "billing.usage_span.SpanTooLong",
        "local_backend.install.InstallFailed",
        "local_backend.pip.PipFailed",
        "local_backend.launch.CannotRunError",
        "local_backend.readiness.NoAnswerError",
        "local_backend.readiness.RefusedError",
    }
)


def public_exceptions() -> dict[str, type[Exception]]:
    found = {}
    for name in importable_modules(*SIBLINGS):
        for public, value in vars(import_module(name)).items():
            ours = inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == name
            if ours and not public.startswith("_"):
                found[f"{name}.{public}"] = value
    return found


def test_every_public_exception_of_the_siblings_has_a_row() -> None:
    raised = public_exceptions()
    shapes = import_module("gateway.errors").SHAPES if raised else {}
    # A row for a family stands for its members; the last row, for whatever nobody foresaw, stands for none of ours.
    rows = set(shapes) - {Exception}
    missing = {name for name, error in raised.items() if not rows & set(error.__mro__)}
    assert missing - ELSEWHERE == set()
    assert ELSEWHERE - missing == set(), "these have a row, or are gone: take them off the list"
