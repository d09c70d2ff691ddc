"""A form as it was typed: read into a frozen value, or given back whole with each mistake beside its field. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gateway.admin.problem import Problem

_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing": "Fill this in.",
        "string_too_long": "At most {max_length} characters.",
        "int_parsing": "A whole number, as 60.",
        "int_from_float": "A whole number, as 60.",
        "greater_than_equal": "At least {ge}.",
        "less_than_equal": "At most {le}.",
        "literal_error": "Choose one of the list.",
        "enum": "Choose one of the list.",
    }
)


class Form(BaseModel):
    """A field left empty is a field not filled in; blanks around what was typed are nobody's intent."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, typed: Any) -> Any:
        return {name: text for name, text in dict(typed).items() if str(text).strip()}


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands in the fields, and what is wrong with it; `general` is wrong with no field alone."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    general: str = ""

    @property
    def wrong(self) -> bool:
        return bool(self.errors or self.general)

    def value(self, name: str) -> str:
        return self.values.get(name, "")


Filled = TypeVar("Filled", bound=Form)


class Wrong(Exception):
    """The form cannot be done as it is; the page shows `sheet` again."""

    def __init__(self, sheet: Sheet) -> None:
        super().__init__(sheet.general or "; ".join(f"{name}: {text}" for name, text in sheet.errors.items()))
        self.sheet: Final = sheet


def read(kind: type[Filled], typed: Mapping[str, str]) -> Filled:
    try:
        return kind.model_validate(dict(typed))
    except ValidationError as error:
        raise Wrong(Sheet(shown_again(typed), _errors(error))) from error


def refused(typed: Mapping[str, str], problem: Problem) -> Wrong:
    """What the desk refuses goes beside the fields it names, the rest above the form."""
    errors = {one.field: one.detail for one in problem.errors if one.field in typed}
    return Wrong(Sheet(shown_again(typed), errors, "" if errors else problem.detail))


def shown_again(typed: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in typed.items() if name not in ("token", "once")}


def wrong(name: str, sentence: str) -> PydanticCustomError:
    """For a check over several fields: which of them is marked."""
    return PydanticCustomError("form", "{sentence}", {"sentence": sentence, "field": name})


def _errors(error: ValidationError) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in error.errors():
        context = one.get("ctx", {})
        name = str(context.get("field") or (one["loc"][0] if one["loc"] else ""))
        sentence = _SENTENCES.get(one["type"], "{msg}").format(msg=one["msg"], **context)
        found.setdefault(name, sentence)
    return found
