"""The shared gateway and its fake providers, for every test of this folder."""

from __future__ import annotations

from tests.e2e.fixtures import (
    dead,
    directory,
    gateway,
    hasty,
    impatient,
    key,
    limited,
    model,
    one,
    pair,
    refused,
    two,
)

__all__ = [
    "dead",
    "directory",
    "gateway",
    "hasty",
    "impatient",
    "key",
    "limited",
    "model",
    "one",
    "pair",
    "refused",
    "two",
]
