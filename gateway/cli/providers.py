"""The rows of the provider registry, as the configuration asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.providers.registry import ROWS

if TYPE_CHECKING:
    from gateway.config.crosscheck import KnownProviders


def known_providers() -> KnownProviders:
    """Every provider that has an address of its own, with the variables that usually hold its key."""
    return {name: (row.key_env, *row.key_env_also) if row.key_env else () for name, row in ROWS.items() if row.base_url}
