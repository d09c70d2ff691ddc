"""A LiteLLM proxy's config.yaml as a turnpike.yaml. Pure: a tree in, a tree out, and a line for what is not in it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from billing.litellm_map import rates
from gateway.cli.litellm.providers import NotConverted, Target, reference, target_of
from gateway.providers.registry import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.cli.litellm.notes import Notes

SECTIONS: Final = ("model_list", "general_settings", "litellm_settings", "router_settings", "environment_variables")
# Read here, or of no consequence.
PARAMS_READ: Final = frozenset(
    {
        *("model", "api_key", "api_base", "base_url", "custom_llm_provider", "extra_headers", "organization"),
        *("rpm", "tpm", "weight", "model_info", "use_in_pass_through", "merge_reasoning_content_in_choices"),
    }
)
GENERAL_READ: Final = frozenset({"master_key", "database_url", "store_model_in_db", "database_connection_pool_limit"})
LITELLM_READ: Final = frozenset(
    {"fallbacks", "default_fallbacks", "timezone", "request_timeout", "set_verbose", "json_logs", "drop_params"}
)
ROUTER_READ: Final = frozenset({"fallbacks", "default_fallbacks", "routing_strategy", "model_group_alias", "timeout"})
# As LiteLLM's shuffle looks for them in the first deployment of a name.
WEIGHTS: Final = ("weight", "rpm", "tpm")
WEIGHT_MAX: Final = 1_000_000
SHUFFLE: Final = "simple-shuffle"


@dataclass(slots=True)
class Proxy:
    """What a proxy is configured to be; `tree` is the turnpike.yaml."""

    tree: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)  # a model access group's models
    timezone: str = "UTC"
    database_url: str | None = None


@dataclass(slots=True)
class _Deployment:
    name: str
    target: Target
    params: Mapping[str, Any]
    info: Mapping[str, Any]
    provider: str = ""


def proxy_of(config: Mapping[str, Any], notes: Notes) -> Proxy:
    proxy = Proxy()
    general, litellm, router = (_section(config, name) for name in SECTIONS[1:4])
    if general.get("master_key") is not None:
        proxy.tree["auth"] = {"admin_key": reference(general["master_key"])}
        notes.add("master_key", "administrates here, and opens no model: make a key for programs that use it")
    if isinstance(general.get("database_url"), str):
        proxy.database_url = reference(general["database_url"])
    if isinstance(litellm.get("timezone"), str):
        proxy.timezone = litellm["timezone"]
    deployments = list(_deployments(config, proxy, notes))
    providers = _named_providers(deployments)
    timeout = router.get("timeout", litellm.get("request_timeout"))
    if isinstance(timeout, int | Decimal) and not isinstance(timeout, bool) and timeout > 0:
        for row in providers.values():
            row["timeouts"] = {"total_s": int(timeout) if timeout == int(timeout) else str(timeout)}
    if providers:
        proxy.tree["providers"] = providers
    models = _models(deployments, router, notes)
    if models:
        proxy.tree["models"] = models
    fallbacks = _fallbacks(models, router, litellm, notes)
    if fallbacks:
        proxy.tree["routing"] = {"fallbacks": fallbacks}
    _tell_unread(config, notes)
    return proxy


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _deployments(config: Mapping[str, Any], proxy: Proxy, notes: Notes) -> Iterator[_Deployment]:
    listed = config.get("model_list")
    for at, entry in enumerate(listed if isinstance(listed, list) else []):
        name = entry.get("model_name") if isinstance(entry, dict) else None
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(params, dict):
            notes.add(f"model_list[{at}]", "has no model_name or no litellm_params; it is left out")
            continue
        subject = f"model_list[{at}] ({name})"
        info = entry.get("model_info") if isinstance(entry.get("model_info"), dict) else {}
        for group in info.get("access_groups") or []:
            proxy.groups.setdefault(str(group), []).append(name)
        try:
            target = target_of(params)
        except NotConverted as error:
            notes.add(subject, str(error))
            continue
        unread = sorted(param for param in params if param not in PARAMS_READ and "cost" not in param)
        if unread:
            notes.add(subject, f"{', '.join(unread)}: nothing here is set for one deployment alone")
        yield _Deployment(name, target, params, info)


def _named_providers(deployments: Sequence[_Deployment]) -> dict[str, dict[str, Any]]:
    """A provider for each address. Several credentials for one are weighted keys of it where every model there takes
    turns among all of them, else providers of their own; the deployments are told theirs.
    """
    by_place: dict[tuple[object, ...], list[_Deployment]] = defaultdict(list)
    for one in deployments:
        by_place[one.target.place].append(one)
    providers: dict[str, dict[str, Any]] = {}
    for here in by_place.values():
        keys = list(dict.fromkeys(one.target.api_key for one in here))
        if len(keys) > 1 and _take_turns(here, keys):
            name = _free(here[0].target.provider, providers)
            providers[name] = _provider_row(name, here[0].target, None)
            providers[name]["api_keys"] = [{"key": key} for key in keys]
            for one in here:
                one.provider = name
            continue
        for key in keys:
            name = _free(here[0].target.provider, providers)
            providers[name] = _provider_row(name, here[0].target, key)
            for one in here:
                if one.target.api_key == key:
                    one.provider = name
    return providers


def _take_turns(here: Sequence[_Deployment], keys: Sequence[str | None]) -> bool:
    """Does each name have each model there once by every key, alike?"""
    if None in keys:
        return False
    of: dict[tuple[str, str], list[_Deployment]] = defaultdict(list)
    for one in here:
        of[one.name, one.target.model].append(one)
    return all(
        [one.target.api_key for one in alike] == list(keys)
        and all(one.params.get(name) == alike[0].params.get(name) for one in alike for name in WEIGHTS)
        and all(_price_fields(one) == _price_fields(alike[0]) for one in alike)
        for alike in of.values()
    )


def _free(name: str, taken: Mapping[str, object]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return found


def _provider_row(name: str, target: Target, api_key: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    address = target.base_url or (ROWS[target.provider].base_url if name != target.provider else None)
    if address is not None:
        row["base_url"] = address
    if api_key is not None:
        row["api_key"] = api_key
    if target.headers:
        row["headers"] = dict(target.headers)
    return row


def _models(
    deployments: Sequence[_Deployment], router: Mapping[str, Any], notes: Notes
) -> dict[str, list[dict[str, Any]]]:
    pools: dict[str, list[_Deployment]] = defaultdict(list)
    for one in deployments:
        if "*" in one.name or "*" in one.target.model:
            if one.name != f"{one.provider}/*":
                notes.add(f"model {one.name}", f"callers name {one.provider}'s models as {one.provider}/MODEL here")
            continue
        pools[one.name].append(one)
    strategy = router.get("routing_strategy", SHUFFLE)
    if strategy != SHUFFLE:
        notes.add("router_settings.routing_strategy", f"{strategy}: requests go by weight here, and around what fails")
    models = {name: _pool(name, pool, notes) for name, pool in pools.items()}
    aliases = router.get("model_group_alias")
    for alias, of in (aliases if isinstance(aliases, dict) else {}).items():
        meant = of.get("model") if isinstance(of, dict) else of
        if meant in models and alias not in models:
            models[str(alias)] = models[meant]
        elif meant not in models:
            notes.add(f"model_group_alias {alias}", f"means {meant}, which is not in model_list")
    return models


def _pool(name: str, pool: Sequence[_Deployment], notes: Notes) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    weights: dict[tuple[str, str], Decimal] = {}
    by = next((name for name in WEIGHTS if _number(pool[0].params.get(name)) is not None), None)
    for one in pool:
        place = one.provider, one.target.model
        # What keys of one provider share stands there once; they take turns below the pool.
        weights[place] = weights.get(place, Decimal(0)) + (
            Decimal(1) if by is None else _number(one.params.get(by)) or Decimal(0)
        )
        row = rows.setdefault(place, {"provider": one.provider, "model": one.target.model})
        if price := _price(f"model {name}", one, notes):
            row["price"] = price
    found = list(rows.values())
    for row, weight in zip(found, _whole(list(weights.values())), strict=True):
        if len(found) > 1:
            row["weight"] = weight
    return found


def _number(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) and value >= 0 else None


def _whole(weights: Sequence[Decimal]) -> list[int]:
    """The same shares in whole numbers, as small as they can be."""
    ratios = [weight.as_integer_ratio() for weight in weights]
    common = math.lcm(*(below for _, below in ratios))
    whole = [above * (common // below) for above, below in ratios]
    divisor = math.gcd(*whole) or 1
    whole = [number // divisor for number in whole]
    if not any(whole):
        return [1] * len(whole)
    if max(whole) <= WEIGHT_MAX:
        return whole
    return [max(1, number * WEIGHT_MAX // max(whole)) if number else 0 for number in whole]


def _price_fields(one: _Deployment) -> dict[str, Decimal]:
    fields = {**one.info, **one.params}
    return {name: number for name, value in fields.items() if "cost" in name and (number := _number(value)) is not None}


def _price(subject: str, one: _Deployment, notes: Notes) -> dict[str, Any] | None:
    given = _price_fields(one)
    if not given:
        return None
    if "input_cost_per_token" not in given or (
        "output_cost_per_token" not in given and one.info.get("mode") != "embedding"
    ):
        notes.add(subject, f"{', '.join(sorted(given))}: a price here has an input and an output; the table's counts")
        return None
    price = rates(given)
    price["tiers"] = [
        {"above_input_tokens": tier["above"]}
        | {name: tier[name] for name in ("input", "cached_input", "output") if name in tier}
        for tier in price.get("tiers", ())
        if "input" in tier and "output" in tier
    ]
    if not price["tiers"]:
        del price["tiers"]
    return price


def _fallbacks(
    models: Mapping[str, object], router: Mapping[str, Any], litellm: Mapping[str, Any], notes: Notes
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for settings in (litellm, router):
        listed = settings.get("fallbacks")
        for entry in listed if isinstance(listed, list) else []:
            for name, targets in entry.items() if isinstance(entry, dict) else ():
                if name == "*":
                    notes.add("fallbacks of *", "are written out here, for the names that there are")
                    for model in models:
                        found.setdefault(model, _targets(model, targets, models, notes))
                elif name in models:
                    found[name] = _targets(name, targets, models, notes)
                else:
                    notes.add(f"fallbacks of {name}", "is not in model_list")
        listed = settings.get("default_fallbacks")
        for model in models if isinstance(listed, list) else ():
            found.setdefault(model, _targets(model, listed, models, notes))
    return {name: targets for name, targets in found.items() if targets}


def _targets(name: str, targets: Any, models: Mapping[str, object], notes: Notes) -> list[str]:
    found = []
    for target in targets if isinstance(targets, list) else []:
        if isinstance(target, str) and target in models and target != name:
            found.append(target)
        elif target != name:
            notes.add(f"fallbacks of {name}", f"{target} is not in model_list")
    return list(dict.fromkeys(found))


def _tell_unread(config: Mapping[str, Any], notes: Notes) -> None:
    for name in config:
        if name not in SECTIONS:
            notes.add(str(name), "has no counterpart here")
    for section, read in (
        ("general_settings", GENERAL_READ),
        ("litellm_settings", LITELLM_READ),
        ("router_settings", ROUTER_READ),
    ):
        for name in _section(config, section):
            if name not in read:
                notes.add(f"{section}.{name}", "has no counterpart here; docs/configuration.md has what there is")
    variables = _section(config, "environment_variables")
    if variables:
        notes.add("environment_variables", f"set {', '.join(sorted(map(str, variables)))} before `turnpike serve`")
