"""File, then environment, then secrets, then checks: the answer is frozen settings, or every problem at once."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gateway.config.crosscheck import findings
from gateway.config.document import TEXT_BYTES_MAX, Document, parse
from gateway.config.later import set_aside
from gateway.config.overlay import lay_over
from gateway.config.problems import ConfigError, Place, Problem
from gateway.config.references import UnresolvedError, fill_admin_key, resolve, variable
from gateway.config.validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.crosscheck import KnownProviders
    from gateway.config.schema import Settings

NOTHING_KNOWN: Final[KnownProviders] = MappingProxyType({})


def load(path: Path | None, environ: Mapping[str, str], known_providers: KnownProviders = NOTHING_KNOWN) -> Settings:
    """Settings from a file, if there is one, and the environment.

    `known_providers` names those that need no base_url, and the variables that usually hold each one's key, if any.
    """
    return read(_text(path) if path else "", str(path) if path else "", environ, known_providers)


def read(
    text: str, source: str, environ: Mapping[str, str], known_providers: KnownProviders = NOTHING_KNOWN
) -> Settings:
    """As `load`, from the text of a file named `source`; relative paths in it start from that file's folder."""
    document = parse(text, source, Path(source).absolute().parent if source else None)
    problems = [*lay_over(document, environ), *set_aside(document), *fill_admin_key(document, environ)]
    problems += resolve(document, environ)
    problems += _usual_keys(document, environ, known_providers)
    _settle_paths(document, environ)
    settings, wrong = validate(document, frozenset(problem.path for problem in problems if problem.path))
    problems += wrong
    if not problems:
        problems += [document.problem(where, message) for where, message in findings(settings, known_providers)]
    if problems:
        raise ConfigError(sorted(problems, key=_line))
    return settings


def _line(problem: Problem) -> int:
    """Problems are read from the top of the file down, those of variables first."""
    return problem.place.line or 0 if problem.place else 0


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(TEXT_BYTES_MAX + 1).decode("utf-8-sig")
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file; check the path, or leave --config out") from None
    except OSError as error:
        raise _unreadable(path, f"it cannot be read: {error.strerror}") from None
    except ValueError:
        raise _unreadable(path, "it is not UTF-8 text") from None


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError([Problem(Place(str(path)), (), reason)])


def _usual_keys(document: Document, environ: Mapping[str, str], known_providers: KnownProviders) -> Iterator[Problem]:
    """Without `providers` every known one whose variable is set; with them, a known one that says nothing of its key.

    A row with a base_url of its own gets no usual key: it may be another host, and the key is not for it.
    """
    discover = document.tree.get("providers") is None
    rows = {} if discover else document.tree["providers"]
    if not isinstance(rows, dict):
        return
    for name, usual in known_providers.items():
        row = rows.get(name) or {}
        if not (discover or name in rows) or not isinstance(row, dict):
            continue
        if any(row.get(key) is not None for key in ("api_key", "api_keys", "base_url")):
            continue
        path = ("providers", name, "api_key")
        try:
            found = next(((one, key) for one in usual if (key := variable(one, environ)) is not None), None)
        except UnresolvedError as error:
            yield Problem(Place(" or ".join(usual)), path, f"is not to be had: {error}")
            continue
        if found is not None:
            document.places[path] = Place(found[0])
            rows[name] = row | {"api_key": found[1]}
    document.tree["providers"] = rows


def _settle_paths(document: Document, environ: Mapping[str, str]) -> None:
    """`~` is the HOME we were given, and a relative path starts from the folder of the file that names it."""
    state = document.tree.get("state") or {}
    if not isinstance(state, dict):
        return
    written = state.get("directory")
    directory = "~/.local/share/turnpike" if written is None else written
    if not isinstance(directory, str) or not directory:
        return
    place = document.place(("state", "directory"))
    start = place.folder if written is not None and place and place.folder else Path()
    settled = (start / _at_home(directory, environ)).absolute()
    document.tree["state"] = state | {"directory": str(settled)}


def _at_home(path: str, environ: Mapping[str, str]) -> Path:
    if path != "~" and not path.startswith("~/"):
        return Path(path)
    home = environ.get("HOME")
    return Path(home) / path[2:] if home else Path(path).expanduser()
