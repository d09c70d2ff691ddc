"""Every exception that a sibling may raise at the gateway has a row in the table that renders errors."""

from __future__ import annotations

import inspect
from importlib import import_module

from tests.tidy.repository import SIBLINGS, importable_modules


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
    assert [name for name, error in raised.items() if not rows & set(error.__mro__)] == []
