"""Do the names that one key mentions exist in another? Pure; every refusal says what to add or to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.config.problems import KeyPath, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.schema import Settings

Finding = tuple[KeyPath, str]
# Providers that have an address of their own, each with the variables that usually hold its key (none: it needs none).
KnownProviders: TypeAlias = Mapping[str, tuple[str, ...]]

LOCAL: Final = "local"
# A caller writes provider/model or provider:model, split at the first separator.
_PROVIDER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MODEL_NAME: Final = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")


def findings(settings: Settings, known_providers: KnownProviders) -> Iterator[Finding]:
    yield from _providers(settings, known_providers)
    yield from _local(settings)
    yield from _models(settings, known_providers)
    yield from _fallbacks(settings)


def _providers(settings: Settings, known_providers: KnownProviders) -> Iterator[Finding]:
    for name, row in settings.providers.items():
        here = ("providers", name)
        if name in {LOCAL, "demo"}:
            yield here, "is a name that Turnpike uses itself; choose another"
        elif not _PROVIDER_NAME.fullmatch(name):
            yield here, "must be letters, digits, dot, dash or underscore, at most 64, for callers write PROVIDER/MODEL"
        elif row.base_url is None and name not in known_providers:
            known = ", ".join(sorted(known_providers)) or "none"
            yield here, f"needs a base_url (known without one: {known})"


def _local(settings: Settings) -> Iterator[Finding]:
    for name in settings.local.models:
        if not _PROVIDER_NAME.fullmatch(name):
            yield ("local", "models", name), "must be letters, digits, dot, dash or underscore, at most 64"


def _models(settings: Settings, known_providers: KnownProviders) -> Iterator[Finding]:
    for name, pool in settings.models.items():
        here: KeyPath = ("models", name)
        if not _MODEL_NAME.fullmatch(name):
            yield here, "must be printable ASCII, at most 256 characters, without a space at an end"
        if not pool:
            yield here, "has no deployment; add one, such as {provider: openai, model: gpt-5-mini}"
        elif not any(row.weight for row in pool):
            yield here, "has no deployment with a weight above 0; give one of them weight: 1"
        for at, row in enumerate(pool):
            yield from _deployment(settings, known_providers, (*here, at), row.provider, row.model)


def _deployment(
    settings: Settings, known_providers: KnownProviders, here: KeyPath, provider: str, model: str
) -> Iterator[Finding]:
    if provider == LOCAL:
        if model not in settings.local.models:
            yield (
                (*here, "model"),
                f"names no local model; add local.models.{model}, or: {_near(model, settings.local.models)}",
            )
    elif provider not in settings.providers:
        variable = " or ".join(known_providers.get(provider, ()))
        if variable and not settings.providers:
            yield (
                (*here, "provider"),
                f"names {provider}, for which there is no key; set {variable} or add providers.{provider}",
            )
        elif provider in known_providers:
            yield (*here, "provider"), f"names {provider}, which is not under providers; add providers.{provider}"
        else:
            hint = _near(provider, [*settings.providers, LOCAL])
            yield (*here, "provider"), f"names an unknown provider; add providers.{provider}, or: {hint}"


def _fallbacks(settings: Settings) -> Iterator[Finding]:
    for name, targets in settings.routing.fallbacks.items():
        here: KeyPath = ("routing", "fallbacks", name)
        if not _exists(settings, name):
            yield here, f"is not a name under models; {_near(name, settings.models)}"
        for at, target in enumerate(targets):
            if target == name:
                yield (*here, at), "names the model itself; remove it"
            elif target in targets[:at]:
                yield (*here, at), "is named twice; remove one"
            elif not _exists(settings, target):
                yield (*here, at), f"is not a name under models; {_near(target, settings.models)}"


def _exists(settings: Settings, name: str) -> bool:
    """An entry of models, or PROVIDER/MODEL of a provider that is configured."""
    if name in settings.models:
        return True
    provider, separator, model = re.match(r"([^/:]*)([/:]?)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    if not separator or not model:
        return False
    return model in settings.local.models if provider == LOCAL else provider in settings.providers


def _near(name: str, known: object) -> str:
    return nearest(name, list(known))  # type: ignore[call-overload]
