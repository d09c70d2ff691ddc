"""How a page writes a figure, a time, a state. Pure; used by the templates alone."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_REPLICA_TONES: Final[Mapping[str, str]] = {
    "ready": "good",
    "starting": "warn",
    "warming": "warn",
    "draining": "warn",
    "crashed": "bad",
    "failed": "bad",
    "backing_off": "bad",
}


def thousands(count: int) -> str:
    return f"{count:,}"


def compact(count: int) -> str:
    """Three figures and a unit: 8.12 M. The whole number stands in the title beside it."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            places = max(0, 3 - len(str(count // size)))
            return f"{count / size:.{places}f}\N{NARROW NO-BREAK SPACE}{unit}"
    return str(count)


def duration_text(duration_ms: float) -> str:
    if duration_ms < 10:
        return f"{duration_ms:.1f} ms"
    if duration_ms < 1000:
        return f"{duration_ms:.0f} ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1000:.1f} s"
    return f"{duration_ms / 60_000:.1f} min"


def reason(request: Any) -> str:
    """Why, without the route's own name in front: it stands beside already."""
    why: str = request.why
    return why.removeprefix(f"{request.route}: ")


def status_tone(status: int) -> str:
    if status < 400:
        return "good"
    return "bad" if status >= 500 else "warn"


def replica_tone(state: str) -> str:
    return _REPLICA_TONES.get(state, "")


def replica_detail(replica: Any) -> str:
    percent = "" if replica.percent is None else f"{replica.percent} %"
    restarts = f"{replica.restarts} restarts" if replica.restarts else ""
    phase = "" if replica.phase == replica.state else replica.phase
    return " · ".join(part for part in (replica.address, phase, percent, replica.cause, restarts) if part)


def entry_tone(kind: str) -> str:
    return "good" if kind in ("actual", "saving") else "warn"


FILTERS: Final[Mapping[str, Callable[[Any], str]]] = {
    one.__name__: one
    for one in (
        thousands,
        compact,
        duration_text,
        reason,
        status_tone,
        replica_tone,
        replica_detail,
        entry_tone,
    )
}
