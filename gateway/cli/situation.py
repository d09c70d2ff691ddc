"""What a command is run with: its words, the environment, the folder. And the two things most commands want from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from contextlib import ExitStack

    from gateway.cli.desk import Desk
    from gateway.config.schema import Settings

DEFAULT_FILE: Final = "turnpike.yaml"


@dataclass(frozen=True, slots=True)
class Situation:
    environ: Mapping[str, str]
    folder: Path
    options: Namespace
    closing: ExitStack
    """Closes at the command's end what it opened."""

    def option(self, name: str) -> Any:
        return getattr(self.options, name, None)

    def config_path(self) -> Path | None:
        """What was named, else the usual file where it lies, else none."""
        named = self.option("file") or self.option("config")
        if named is not None:
            return Path(named)
        usual = self.folder / DEFAULT_FILE
        return Path(DEFAULT_FILE) if usual.exists() else None

    def settings(self) -> Settings:
        from gateway.cli.providers import known_providers  # noqa: PLC0415 - pydantic and yaml are slow to import
        from gateway.config.load import load  # noqa: PLC0415
        from gateway.config.problems import ConfigError  # noqa: PLC0415

        try:
            return load(self.config_path(), self.environ, known_providers())
        except ConfigError as error:
            raise Refused(str(error)) from None

    def desk(self) -> Desk:
        """The gateway that runs, or the books of one that does not."""
        return self.desk_of(self.settings())

    def desk_of(self, settings: Settings) -> Desk:
        from gateway.cli.reach import desk  # noqa: PLC0415

        found = desk(settings)
        self.closing.callback(found.close)
        return found


def new_name(here: Situation) -> str:
    """The name of what is made; the grammar sees to it that there is one."""
    name: str = here.option("name") if here.option("named") is None else here.option("named")
    return name
