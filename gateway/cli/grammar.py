"""What may be typed after `turnpike`, in one place. Imports argparse alone, so that help and version answer at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from gateway.cli import grammar_tenancy as tenancy
from gateway.cli.words import Parser
from gateway.cli.words import commands_of as _commands
from gateway.cli.words import count_of as _count
from gateway.cli.words import group as _group
from gateway.cli.words import json_option as _json
from gateway.cli.words import leaf_of as _leaf

if TYPE_CHECKING:
    from collections.abc import Iterable

WORKERS_MAX: Final = 64
PORT_MAX: Final = 65_535
LOG_LINES_MAX: Final = 10_000
BY_DEFAULT: Final = "model"
_RATES: Final = {
    "input": "per million input tokens",
    "output": "per million output tokens",
    "cached_input": "per million tokens read from the provider's cache; default: as --input",
    "cache_write": "per million tokens written to it; default: as --input",
    "reasoning": "per million reasoning tokens; default: as --output",
    "audio_input": "per million tokens heard; default: as --input",
    "audio_output": "per million tokens spoken; default: as --output",
    "request": "for each request",
}


def parser() -> Parser:
    """Each leaf names the function that does it, as module:function under `gateway.cli`."""
    root = Parser(prog="turnpike", description="A gateway between programs and language models.", allow_abbrev=False)
    commands = _commands(root)
    _serve(commands)
    _config(commands)
    tenancy.organizations(commands)
    tenancy.teams(commands)
    tenancy.users(commands)
    tenancy.members(commands)
    tenancy.keys(commands)
    tenancy.budgets(commands)
    tenancy.limits(commands)
    tenancy.moving_in(commands)
    _prices(commands)
    _usage(commands)
    _ledger(commands)
    _migrate(commands)
    _local(commands)
    _leaf(commands, "version", "version:version", "say which version this is", config=False)
    return root


def _serve(commands: argparse._SubParsersAction[Parser]) -> None:
    serve = _leaf(commands, "serve", "serve:serve", "serve on http://127.0.0.1:8787, or as configured")
    serve.add_argument("--host", metavar="H", help="address to listen on")
    serve.add_argument("--port", metavar="P", type=_count(0, PORT_MAX), help="port to listen on; 0 takes a free one")
    serve.add_argument(
        "--workers", metavar="N", type=_count(1, WORKERS_MAX), help="processes that serve, of this machine"
    )
    serve.add_argument("--migrate", action="store_true", help="bring the database to this release's schema first")


def _config(commands: argparse._SubParsersAction[Parser]) -> None:
    config = _group(commands, "config", "check a configuration, or describe what may stand in one")
    check = _leaf(config, "check", "config:check", "list everything that is wrong with a configuration")
    check.add_argument("file", metavar="FILE", nargs="?", help="the file to check, instead of --config")
    schema = _leaf(config, "schema", "config:schema", "write the JSON Schema that editors use", config=False)
    schema.add_argument("file", metavar="FILE", nargs="?", help="where to write it (default: standard output)")


def _prices(commands: argparse._SubParsersAction[Parser]) -> None:
    prices = _group(commands, "prices", "prices, by date and by team, that go before the shipped table")
    listing = _leaf(prices, "list", "prices:listing", "list the prices that were given")
    listing.add_argument("--provider", metavar="NAME", help="only this provider's")
    listing.add_argument("--model", metavar="NAME", help="only this model's")
    listing.add_argument("--retired", action="store_true", help="also those that price nothing any more")
    show = _leaf(prices, "show", "prices:show", "show a price, or what a model costs")
    show.add_argument("price", metavar="PRICE", help="the id of a price, or PROVIDER/MODEL")
    show.add_argument("--at", metavar="WHEN", help="at this day or instant instead of now")
    create = _leaf(prices, "create", "prices:create", "give a model a price")
    create.add_argument("model", metavar="PROVIDER/MODEL")
    for name, meaning in _RATES.items():
        create.add_argument(
            f"--{name.replace('_', '-')}", metavar="USD", required=name in ("input", "output"), help=meaning
        )
    create.add_argument("--id", metavar="ID", help="an id of your own")
    take = _leaf(prices, "import", "prices:import_", "bring a list of prices from CSV, JSON or LiteLLM's map")
    take.add_argument("path", metavar="FILE", help="`-`: standard input")
    take.add_argument("--provider", metavar="NAME", help="only this provider's")
    take.add_argument("--dry-run", action="store_true", help="only say what would be imported")
    reprice = _leaf(prices, "reprice", "prices:reprice", "price what had no price when it was bought")
    reprice.add_argument("--since", metavar="D", required=True, help="from this day or instant on")
    reprice.add_argument("--until", metavar="D", help="up to this day or instant, which is not included; default: now")
    reprice.add_argument("--provider", metavar="NAME", help="only this provider's")
    reprice.add_argument("--model", metavar="NAME", help="only this model's")
    reprice.add_argument(
        "--everything", action="store_true", help="also what had a price, at those in force at its time"
    )
    reprice.add_argument("--dry-run", action="store_true", help="only say what it comes to")
    delete = _leaf(prices, "delete", "prices:delete", "retire a price; what it has priced keeps it")
    delete.add_argument("price", metavar="PRICE", help="its id")
    for leaf in (create, take):
        leaf.add_argument("--effective-at", metavar="WHEN", help="a day (in UTC) or an instant; default: now")
        leaf.add_argument("--source", metavar="TEXT", help="where the prices come from, such as a contract's name")
    for leaf in (listing, show, create):
        leaf.add_argument("--team", metavar="TEAM", help="a team's own, by id or name")
    for leaf in (listing, show, create, take, reprice, delete):
        _json(leaf)


def _usage(commands: argparse._SubParsersAction[Parser]) -> None:
    usage = _leaf(commands, "usage", "usage:usage", "report requests, tokens and cost")
    usage.add_argument(
        "--by",
        metavar="A,B,…",
        default=BY_DEFAULT,
        help="organization, team, user, key, end_user, model, provider, day, tag:NAME",
    )
    for name in ("organization", "team", "user", "key"):
        usage.add_argument(f"--{name}", metavar=name.upper(), help=f"only this {name}'s, by id or name")
    usage.add_argument("--model", metavar="MODEL", help="only this model's")
    usage.add_argument("--provider", metavar="NAME", help="only this provider's")
    usage.add_argument("--from", metavar="D", dest="start", help="from this day or instant on, such as 2026-11-25")
    usage.add_argument("--to", metavar="D", dest="end", help="up to this day or instant, which is not included")
    usage.add_argument("--timezone", metavar="ZONE", help="whose days are meant, such as Europe/Berlin (default: UTC)")
    shape = usage.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    shape.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def _ledger(commands: argparse._SubParsersAction[Parser]) -> None:
    ledger = _group(commands, "ledger", "the books: prove them, look into them, compare them with a bill")
    verify = _leaf(ledger, "verify", "ledger:verify_ledger", "check every hash, every chain's end and every sum")
    show = _leaf(ledger, "show", "ledger:show", "show the chains and open leases, or a request, a batch, an entry")
    show.add_argument("id", metavar="ID", nargs="?", help="a request's, a batch's or an entry's id")
    reconcile = _leaf(ledger, "reconcile", "ledger:compare", "compare the ledger with a provider's costs, day by day")
    reconcile.add_argument("export", metavar="FILE", help="OpenAI's costs pages as JSON, or a CSV with date and cost")
    reconcile.add_argument("--provider", metavar="NAME", default="openai", help="whose bill it is (default: openai)")
    reconcile.add_argument("--timezone", metavar="ZONE", help="whose days a CSV means (default: UTC)")
    reconcile.add_argument("--rate", metavar="EUR=1.08", action="append", help="USD per unit of another currency")
    reconcile.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    close = _leaf(
        ledger, "close", "ledger:close", "post what a lost lease holds as unknown, so that it pends no longer"
    )
    close.add_argument(
        "lease", metavar="LEASE", type=_count(1, 999_999_999), help="its number, as `ledger show` lists it"
    )
    close.add_argument("--reason", metavar="TEXT", required=True, help="why; the audit log keeps it")
    close.add_argument("--force", action="store_true", help="although its journal is there to be read")
    for leaf in (verify, show, close):
        _json(leaf)


def _migrate(commands: argparse._SubParsersAction[Parser]) -> None:
    migrate = _leaf(commands, "migrate", "migrate:migrate", "bring the database to this release's schema")
    migrate.add_argument("--to", metavar="REV", default="head", help="only as far as this revision")
    migrate.add_argument("--dry-run", action="store_true", help="only say which revisions would be applied")


def _local(commands: argparse._SubParsersAction[Parser]) -> None:
    local = _group(commands, "local", "models served on this machine")
    install = _leaf(local, "install", "local:install", "put a pinned vLLM into an environment of its own")
    install.add_argument("--device", choices=("cpu", "cuda"), help="default: what this machine has")
    _json(_leaf(local, "status", "local:status", "show the state of each replica"))
    start = _leaf(local, "start", "local:start", "start a model in the running gateway")
    stop = _leaf(local, "stop", "local:stop", "stop a model in the running gateway")
    logs = _leaf(local, "logs", "local:logs", "show what a model's processes said last")
    for leaf in (start, stop, logs):
        leaf.add_argument("model", metavar="MODEL", help="its name under local.models")
    for leaf in (start, stop):
        _json(leaf)
    logs.add_argument("--lines", metavar="N", type=_count(1, LOG_LINES_MAX), default=200, help="at most (default: 200)")


def leaves(node: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    """Every command that does something."""
    if node.get_default("does"):
        yield node
    for action in node._actions:  # noqa: SLF001 - argparse has no public way to its own tree
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from leaves(child)
