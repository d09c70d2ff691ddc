"""The pages at `/admin`: rendered by the gateway, readable without a script, and served from this origin alone."""

from typing import Final

from fastapi import FastAPI

from gateway.admin.pages import (
    audit,
    budgets,
    home,
    keys,
    organizations,
    requests,
    settings,
    sign_in,
    static,
    teams,
    usage,
    users,
)
from gateway.admin.pages.renderer import Add, Pages, to, wanted

__all__ = ["Pages", "add", "to", "wanted"]

_PAGES: Final[tuple[Add, ...]] = (
    home.add,
    organizations.add,
    teams.add,
    users.add,
    keys.add,
    budgets.add,
    usage.add,
    requests.add,
    audit.add,
    settings.add,
    sign_in.add,
    static.add,
)


def add(app: FastAPI, pages: Pages) -> None:
    for one in _PAGES:
        one(app, pages)
