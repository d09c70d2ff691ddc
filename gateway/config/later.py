"""Keys that nothing reads yet: accepted at their default, else refused by name, so that no wish is silently dropped."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from gateway.config.problems import KeyPath, Problem, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.document import Document

Pattern = tuple[str, ...]

# `*` stands for any name. The value is the default: writing it changes nothing, so it is no wish.
KEYS: Final[Mapping[Pattern, object]] = {
    ("server", "tls"): None,
    ("server", "public_url"): None,
    ("server", "root_path"): "",
    ("server", "trusted_proxies"): [],
    ("server", "cors_origins"): [],
    ("state", "redis"): None,
    ("auth", "oidc"): None,
    ("secrets", "encryption_key"): "env:TURNPIKE_SECRET_KEY",
    ("providers", "*", "data_region"): None,
    ("providers", "*", "cancelled_stream"): None,
    ("local", "gpu_hour_usd"): None,
    ("local", "models", "*", "idle_sleep_s"): None,
    ("cache", "semantic", "enabled"): False,
    ("cache", "semantic", "error_max"): Decimal("0.01"),
    ("cache", "semantic", "probability_min"): Decimal("0.90"),
    ("cache", "semantic", "ttl_s"): 86400,
    ("cache", "semantic", "temperature_max"): 1,
    ("cache", "semantic", "scope"): "team",
    ("cache", "semantic", "judge"): None,
    ("cache", "semantic", "shadow_ratio"): Decimal("0.01"),
    ("telemetry", "otlp_endpoint"): None,
    ("telemetry", "sample_ratio"): 1,
    ("telemetry", "capture"): "none",
    ("metrics", "listen"): None,
    ("retention", "bodies_days"): 7,
}
# Sections of which nothing is read yet: the schema does not know them, so they are taken out whole.
SECTIONS: Final[frozenset[Pattern]] = frozenset({("secrets",), ("cache", "semantic")})


@dataclass(frozen=True, slots=True)
class Choices:
    """A key that is read, of which only some values are."""

    supported: tuple[object, ...]
    promised: tuple[object, ...]


VALUES: Final[Mapping[Pattern, Choices]] = {
    ("providers", "*", "dialect"): Choices(
        ("openai",), ("anthropic", "gemini", "azure", "bedrock", "vertex", "litellm")
    ),
}
LABELS: Final = ["team", "model", "provider"]
POLICY_KEYS: Final = ("route", "candidates", "quality_floor")


def set_aside(document: Document) -> Iterator[Problem]:
    """Takes what nothing reads yet out of the tree, and tells of each wish that would have gone unheard."""
    yield from _walk(document, document.tree, ())


def known_later(pattern: Pattern) -> frozenset[str]:
    """Names that may stand in this place, although the schema does not know them."""
    depth = len(pattern)
    names = [*KEYS, *SECTIONS]
    return frozenset(
        name[depth] for name in names if len(name) > depth and name[:depth] == pattern and name[depth] != "*"
    )


def as_pattern(path: KeyPath) -> Pattern:
    """The path with `*` where any name may stand."""
    parts = [str(part) for part in path]
    for at, prefix in ((1, ["providers"]), (1, ["models"]), (2, ["local", "models"])):
        if len(parts) > at and parts[:at] == prefix:
            parts[at] = "*"
    return tuple(parts)


def _walk(document: Document, tree: dict[str, object], path: KeyPath) -> Iterator[Problem]:
    for key, value in list(tree.items()):
        here = (*path, key)
        name = as_pattern(here)
        if name in KEYS:
            if value is not None and not same(value, KEYS[name]):
                yield document.problem(here, "is not supported yet; remove it")
            del tree[key]
        elif name in SECTIONS:
            yield from _section(document, value, here, name)
            del tree[key]
        elif name[:1] == ("models",):
            yield from _policy(document, here, value)
        elif _promised(name, value):
            yield document.problem(here, f"is not supported yet, except as {_default_text(name)}")
            del tree[key]
        elif isinstance(value, dict):
            yield from _walk(document, value, here)


def _section(document: Document, value: object, path: KeyPath, name: Pattern) -> Iterator[Problem]:
    if isinstance(value, dict):
        yield from _walk(document, value, path)
        for key in value:
            yield document.problem((*path, key), f"is unknown; {nearest(key, known_later(name))}")
    elif value is not None:
        yield document.problem(path, "is not supported yet; remove it")


def _policy(document: Document, path: KeyPath, pools: object) -> Iterator[Problem]:
    if not isinstance(pools, dict):
        return
    for name, value in list(pools.items()):
        wish = next((key for key in POLICY_KEYS if isinstance(value, dict) and key in value), None)
        if wish:
            yield document.problem((*path, name, wish), "is not supported yet; write a list of deployments")
            del pools[name]


def _promised(name: Pattern, value: object) -> bool:
    if name == ("metrics", "labels"):
        return isinstance(value, list) and value != LABELS
    choices = VALUES.get(name)
    return choices is not None and any(same(value, promised) for promised in choices.promised)


def _default_text(name: Pattern) -> str:
    return f"[{', '.join(LABELS)}]" if name == ("metrics", "labels") else " or ".join(map(str, VALUES[name].supported))


def same(value: object, default: object) -> bool:
    """Equal, also when one came as text from a variable: "1.0", 1 and 1.0 are the same wish."""
    if isinstance(default, list):
        return isinstance(value, list) and len(value) == len(default) and all(map(same, value, default))
    if isinstance(default, bool) or isinstance(value, bool):
        return value is default or str(value).lower() == str(default).lower()
    if isinstance(default, int | Decimal) and isinstance(value, int | Decimal | str):
        try:
            return Decimal(value) == default
        except InvalidOperation:
            return False
    return value == default
