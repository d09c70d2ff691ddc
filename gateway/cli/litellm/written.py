"""The turnpike.yaml that an import writes: checked before, and never written over one that says something else."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from gateway.cli.providers import known_providers
from gateway.cli.refusal import Refused
from gateway.config.load import read
from gateway.config.problems import ConfigError
from gateway.config.references import names_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.config.schema import Settings

HEAD: Final = "# Brought over from a LiteLLM proxy by `turnpike import litellm`.\n"
PLACEHOLDER: Final = "not-set-when-this-was-read"
_AMOUNT: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)


class _Amount(str):
    """Decimal text that stands without quotes, as people write prices."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Amounts plain, and nothing by reference: a name that means what another does is written out."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_Dumper.add_representer(_Amount, lambda dumper, amount: dumper.represent_scalar("tag:yaml.org,2002:float", str(amount)))


def text_of(tree: Mapping[str, Any]) -> str:
    return HEAD + yaml.dump(_plain(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _plain(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            return {key: _plain(item, "price" if name == "price" else key) for key, item in value.items()}
        case list():
            return [_plain(item, name) for item in value]
        case str() if name in ("price", "total_s") and _AMOUNT.fullmatch(value):
            return _Amount(value)
    return value


def settings_of(
    text: str, source: str, environ: Mapping[str, str], tree: Mapping[str, Any]
) -> tuple[Settings | None, Sequence[str]]:
    """What the file comes to, credentials that are not here aside; else everything that is wrong with it."""
    # The state is found without any credential; those may be on another machine.
    missing = {name: PLACEHOLDER for name in names_in(dict(tree)) if not environ.get(name)}
    try:
        return read(text, source, {**environ, **missing}, known_providers()), ()
    except ConfigError as error:
        return None, [str(problem) for problem in error.problems]


def standing(path: Path) -> str | None:
    """What the file says now, where there is one."""
    try:
        return path.read_text() if path.exists() else None
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {error}; name another with --out") from None


def write(path: Path, text: str) -> None:
    """For its owner alone: there may be secrets in it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}; name another with --out") from None
