"""Limits of models as the admin API takes and shows them."""

from typing import Any, Self

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError

from gateway.admin.asked import Asked, LimitAsked, Pattern
from gateway.admin.shown import Listing

BOUNDS = ("requests_per_minute", "tokens_per_minute", "concurrency_max")


class LimitsChange(Asked):
    requests_per_minute: LimitAsked = None
    tokens_per_minute: LimitAsked = None
    concurrency_max: LimitAsked = None


class LimitsAsked(LimitsChange):
    model: Pattern

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.limits():
            raise PydanticCustomError(
                "no_limit", "send `requests_per_minute`, `tokens_per_minute`, `concurrency_max` or more of them"
            )
        return self

    def limits(self) -> dict[str, Any]:
        return {name: value for name in BOUNDS if (value := getattr(self, name)) is not None}


class LimitsOfModel(BaseModel):
    model: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency_max: int | None = None
    version: int

    def limits(self) -> dict[str, Any]:
        return {name: value for name in BOUNDS if (value := getattr(self, name)) is not None}


class ModelLimitsPage(Listing):
    data: list[LimitsOfModel]
