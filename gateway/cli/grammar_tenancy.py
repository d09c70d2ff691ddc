"""What may be typed of those who spend and of their bounds, and of how they move in from a file or another gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.words import Parser, count_of, group, json_option, leaf_of, name_option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

OVERLAP_SECONDS_MAX: Final = 30 * 24 * 3600
ROLES: Final = ("owner", "admin", "billing", "team_admin", "member", "viewer")
WINDOWS: Final = ("total", "hour", "day", "week", "month")
OVER_BUDGET: Final = ("reject", "downgrade", "default")


def organizations(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "organizations", "organizations, to which teams and users belong")
    listing, create, show, update, delete = _five(room, "organizations", "an organization", "organizations")
    name_option(create)
    create.add_argument("--id", metavar="ID", help="an id of your own, for one that exists elsewhere")
    for leaf in (show, update, delete):
        leaf.add_argument("organization", metavar="ORGANIZATION", help="its id or its name")
    update.add_argument("--name", metavar="NAME")
    _say((listing, create, show, update, delete))


def teams(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "teams", "teams, to which keys and spend belong")
    listing, create, show, update, delete = _five(room, "teams", "a team", "teams", "delete a team that has no keys")
    name_option(create)
    create.add_argument("--id", metavar="ID", help="an id of your own, for a team that exists elsewhere")
    for leaf in (show, update, delete):
        leaf.add_argument("team", metavar="TEAM", help="its id or its name")
    update.add_argument("--name", metavar="NAME")
    for leaf in (create, update):
        leaf.add_argument("--organization", metavar="ORGANIZATION", help="by id or name; `none` for none")
        _rules(leaf)
    _say((listing, create, show, update, delete))


def users(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "users", "people, each with a role")
    listing, create, show, update, delete = _five(room, "users", "a user", "users")
    create.add_argument("email", metavar="EMAIL")
    create.add_argument("--name", metavar="NAME", help="default: the e-mail")
    create.add_argument("--id", metavar="ID", help="an id of your own, for a user who exists elsewhere")
    for leaf in (show, update, delete):
        leaf.add_argument("user", metavar="USER", help="the id, the e-mail or the name")
    update.add_argument("--name", metavar="NAME")
    update.add_argument("--email", metavar="EMAIL")
    for leaf in (create, update):
        leaf.add_argument("--role", choices=ROLES, help="what this person may do" + _default(leaf, create, "member"))
        leaf.add_argument("--organization", metavar="ORGANIZATION", help="by id or name; `none` for none")
    _say((listing, create, show, update, delete))


def members(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "members", "which users are of which team")
    listing = leaf_of(room, "list", "members:listing", "list a team's members, or everybody's teams")
    listing.add_argument("--team", metavar="TEAM", help="only this team's, by id or name")
    create = leaf_of(room, "create", "members:create", "make a user a member of a team")
    delete = leaf_of(room, "delete", "members:delete", "take a user out of a team; the user stays")
    for leaf in (create, delete):
        leaf.add_argument("team", metavar="TEAM", help="its id or its name")
        leaf.add_argument("user", metavar="USER", help="the id, the e-mail or the name")
    _say((listing, create, delete))


def keys(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "keys", "keys, with which programs use the gateway")
    listing = leaf_of(room, "list", "keys:listing", "list the keys")
    listing.add_argument("--team", metavar="TEAM", help="only this team's, by id or name")
    create = leaf_of(room, "create", "keys:create", "make a key; its secret is shown this once")
    name_option(create)
    create.add_argument("--id", metavar="ID", help="an id of your own, for a key that exists elsewhere")
    secret = create.add_mutually_exclusive_group()
    secret.add_argument("--key-file", metavar="FILE", help="take the secret from this file (`-`: standard input)")
    secret.add_argument("--key-sha256", metavar="HEX", help="keep a secret of which only this hash is known")
    show = leaf_of(room, "show", "keys:show", "show one key, without its secret")
    update = leaf_of(room, "update", "keys:update", "change a key")
    delete = leaf_of(room, "delete", "keys:delete", "revoke a key; reports still name it")
    rotate = leaf_of(room, "rotate", "keys:rotate", "give a key a new secret; it is shown this once")
    for leaf in (show, update, delete, rotate):
        leaf.add_argument("key", metavar="KEY", help="its id or its name")
    update.add_argument("--name", metavar="NAME")
    for leaf in (create, update):
        leaf.add_argument("--team", metavar="TEAM", help="by id or name; `none` for no team")
        leaf.add_argument("--user", metavar="USER", help="by id, e-mail or name; `none` for no user")
        leaf.add_argument("--expires-at", metavar="WHEN", help="2027-01-01 or 2027-01-01T08:00:00Z; `never`")
        leaf.add_argument("--scopes", metavar="A,B,…", help="`none` for none")
        _rules(leaf)
    overlap = count_of(0, OVERLAP_SECONDS_MAX)
    rotate.add_argument(
        "--overlap-seconds", metavar="N", type=overlap, default=0, help="how long the old one still works"
    )
    _say((listing, create, show, update, delete, rotate))


def budgets(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "budgets", "how much may be spent, by whom, in which time")
    listing, create, show, update, delete = _five(room, "budgets", "a budget", "budgets")
    whose = create.add_mutually_exclusive_group()
    for name, meaning in (
        ("organization", "by id or name"),
        ("user", "by id, e-mail or name"),
        ("member", "this user within --team, or any team"),
        ("key", "by id or name"),
        ("tag", "NAME=VALUE, or NAME=* for each value"),
        ("model", "as callers name it or as PROVIDER/MODEL; of --team alone, where that is given"),
        ("end-user", "as x-turnpike-user names them"),
        ("provider", "by its name in the configuration"),
    ):
        whose.add_argument(f"--{name}", metavar=name.upper().replace("-", "_"), help=f"{meaning}; `*`: each apart")
    create.add_argument("--team", metavar="TEAM", help="by id or name; `*`: each apart")
    create.add_argument("--window", choices=WINDOWS, default="total", help="how long until it resets (default: never)")
    create.add_argument("--timezone", metavar="ZONE", help="whose midnights are meant (default: UTC)")
    create.add_argument("--id", metavar="ID", help="an id of your own")
    for leaf in (show, update, delete):
        leaf.add_argument("budget", metavar="BUDGET", help="its id, as `budgets list` shows it")
    for leaf in (create, update):
        leaf.add_argument("--limit", metavar="USD", help="above this, requests are refused; `none` for no limit")
        leaf.add_argument("--soft-limit", metavar="USD", help="above this, an event is told once; `none`")
        leaf.add_argument("--over-budget", choices=OVER_BUDGET, help="default: as routing.over_budget says")
    _say((listing, create, show, update, delete))


def limits(commands: argparse._SubParsersAction[Parser]) -> None:
    room = group(commands, "limits", "how fast a model may be used, by everybody together")
    listing, create, show, update, delete = _five(room, "limits", "a model's limits", "the limits of models")
    for leaf in (create, show, update, delete):
        leaf.add_argument("model", metavar="MODEL", help="as callers name it; `*` stands for any characters")
    for leaf in (create, update):
        leaf.add_argument("limits", metavar="LIMITS", help="rpm=600,tpm=100000,concurrency=20; each may be `none`")
    _say((listing, create, show, update, delete))


def moving_in(commands: argparse._SubParsersAction[Parser]) -> None:
    apply = leaf_of(commands, "apply", "apply.command:apply", "make what a file describes; a second time, nothing")
    apply.add_argument("path", metavar="FILE", help="YAML or JSON; `-`: standard input")
    apply.add_argument("--prune", action="store_true", help="remove what it does not name, of the kinds that it has")
    apply.add_argument("--dry-run", action="store_true", help="only say what would be changed")
    room = group(commands, "import", "bring everything over from another gateway")
    litellm = leaf_of(room, "litellm", "litellm.command:import_litellm", "bring a LiteLLM proxy over")
    litellm.add_argument("path", metavar="CONFIG", help="the proxy's config.yaml")
    litellm.add_argument("--out", metavar="FILE", help="where to write (default: turnpike.yaml beside CONFIG)")
    source = litellm.add_mutually_exclusive_group()
    source.add_argument("--database", metavar="URL", help="the proxy's PostgreSQL; `env:NAME` reads it from there")
    source.add_argument("--dump", metavar="DIR", help="a file for each table instead: LiteLLM_TeamTable.csv or .json")
    litellm.add_argument("--dry-run", action="store_true", help="only say what would be brought")
    _say((apply, litellm))


def _five(
    room: argparse._SubParsersAction[Parser], module: str, one: str, many: str, removal: str | None = None
) -> tuple[Parser, Parser, Parser, Parser, Parser]:
    return (
        leaf_of(room, "list", f"{module}:listing", f"list {many if many.startswith('the ') else f'the {many}'}"),
        leaf_of(room, "create", f"{module}:create", f"make {one}"),
        leaf_of(room, "show", f"{module}:show", f"show {one}"),
        leaf_of(room, "update", f"{module}:update", f"change {one}"),
        leaf_of(room, "delete", f"{module}:delete", removal or f"delete {one}"),
    )


def _default(leaf: Parser, create: Parser, name: str) -> str:
    return f" (default: {name})" if leaf is create else ""


def _rules(leaf: Parser) -> None:
    """What keys and teams alike say of each request."""
    leaf.add_argument("--models", metavar="A,B,…", help="what may be used, such as `openai/*,gpt-4o*`; `all` for all")
    leaf.add_argument(
        "--limits",
        metavar="LIMITS",
        action="append",
        help="rpm=600,tpm=100000,concurrency=20; of a model as MODEL:rpm=60; may be given again; `none`",
    )
    leaf.add_argument("--tags", metavar="A=B,…", help="tags that every request then has; `none` for none")
    leaf.add_argument("--tags-required", metavar="A,B,…", help="names of tags that must be sent; `none` for none")
    leaf.add_argument(
        "--tags-allowed",
        metavar="NAME=A|B|…",
        action="append",
        help="the values that a tag may have; may be given again; `none`",
    )


def _say(leaves: Iterable[Parser]) -> None:
    for leaf in leaves:
        json_option(leaf)
