"""Can this gateway serve, what is missing, and how do its deployments stand? No provider is called."""

from collections import defaultdict
from collections.abc import Iterable

from fastapi import FastAPI

from billing.money import usd_text
from gateway.admin import shown
from gateway.admin.instant import optional_text
from gateway.admin.rooms import AdminRooms, DeploymentView


def add(app: FastAPI, rooms: AdminRooms) -> None:
    @app.get("/admin/v1/health", tags=["health"])
    def health() -> shown.Health:
        return health_now(rooms)

    @app.get("/admin/v1/health/providers", tags=["health"])
    def providers() -> shown.Providers:
        return shown.Providers(data=by_provider(deployments_now(rooms)))

    @app.get("/admin/v1/models", tags=["models"])
    def models() -> shown.Models:
        return shown.Models(data=deployments_now(rooms))


def health_now(rooms: AdminRooms) -> shown.Health:
    missing = list(rooms.ready())
    pending_nano_usd = sum(hold.amount_nano_usd for hold in rooms.pending())
    return shown.Health(
        ready=not missing, missing=missing, pending_usd=usd_text(pending_nano_usd), version=rooms.version
    )


def deployments_now(rooms: AdminRooms) -> list[shown.Deployment]:
    now_at_us = rooms.clock()
    return [_shown(view, now_at_us) for view in rooms.deployments()]


def by_provider(deployments: Iterable[shown.Deployment]) -> list[shown.Provider]:
    states: defaultdict[str, list[str]] = defaultdict(list)
    for one in deployments:
        states[one.provider].append(one.state)
    return [_provider(name, found) for name, found in states.items()]


def _provider(name: str, states: list[str]) -> shown.Provider:
    cooling = states.count("cooling")
    state = "ready" if not cooling else "cooling" if cooling == len(states) else "degraded"
    return shown.Provider(provider=name, deployments=len(states), cooling=cooling, state=state)


def _shown(view: DeploymentView, now_at_us: int) -> shown.Deployment:
    cooling = view.cooling_until_at_us is not None and view.cooling_until_at_us > now_at_us
    return shown.Deployment(
        id=view.id,
        name=view.name,
        provider=view.provider,
        model=view.model,
        weight=view.weight,
        state="cooling" if cooling else "ready",
        cooling_until=optional_text(view.cooling_until_at_us) if cooling else None,
        reason=view.reason if cooling else None,
    )
