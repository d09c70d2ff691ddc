"""The parts that the grammar of the command line is made of."""

from __future__ import annotations

import argparse
import sys
from typing import Final, NoReturn

WRONG_USAGE: Final = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {' '.join(message.split())}; see `{self.prog} --help`", file=sys.stderr)
        sys.exit(WRONG_USAGE)


def commands_of(parent: argparse.ArgumentParser) -> argparse._SubParsersAction[Parser]:
    return parent.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser, title="commands")


def group(commands: argparse._SubParsersAction[Parser], name: str, purpose: str) -> argparse._SubParsersAction[Parser]:
    return commands_of(commands.add_parser(name, help=purpose, description=_sentence(purpose), allow_abbrev=False))


def leaf_of(
    commands: argparse._SubParsersAction[Parser], name: str, does: str, purpose: str, *, config: bool = True
) -> Parser:
    leaf = commands.add_parser(name, help=purpose, description=_sentence(purpose), allow_abbrev=False)
    leaf.set_defaults(does=does)
    if config:
        leaf.add_argument("--config", metavar="FILE", help="the configuration (default: ./turnpike.yaml, if it exists)")
    return leaf


def _sentence(purpose: str) -> str:
    return f"{purpose[0].upper()}{purpose[1:]}."


def json_option(leaf: Parser) -> None:
    leaf.add_argument("--json", action="store_true", help="answer in JSON, as the admin API does")


def name_option(leaf: Parser) -> None:
    """A new thing's name, with its option's name before it or without."""
    one = leaf.add_mutually_exclusive_group(required=True)
    one.add_argument("name", metavar="NAME", nargs="?")
    one.add_argument("--name", metavar="NAME", dest="named")


class _Count:
    """An argument's type; argparse shows its name where the text is no number."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and self.low <= int(text) <= self.high):
            raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number from {self.low} to {self.high}")
        return int(text)


def count_of(low: int, high: int) -> _Count:
    return _Count(low, high)
