"""Prices as the admin API takes and shows them: decimal text, dollars per million tokens, `request` dollars each."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from billing.price import Price as InIntegers
from billing.price import Tier as TierInIntegers
from billing.price_list import IMPORT_ROWS_MAX
from billing.price_rows import RATES, TIERS_MAX, BadPrice, decimal_text, fields_of, pico_as_usd, rates_of
from billing.price_rows import ListedPrice as Listed
from billing.price_table import UsdRow
from gateway.admin.asked import Asked, Id, PageAsked
from gateway.admin.instant import bound_at_us, instant_text, optional_text
from gateway.admin.shown import Instant, Listing, Usd

_UTC: Final = ZoneInfo("UTC")
RATES_AND_FEE: Final = (*RATES, "request")


def _no_fraction(value: object) -> object:
    if isinstance(value, float | bool):
        raise PydanticCustomError("inexact", 'send the amount as text, as in `"2.50"`: a number may lose digits')
    return str(value) if isinstance(value, int) else value


def _instant(text: str) -> str:
    try:
        bound_at_us(text, _UTC)
    except ValueError as error:
        raise PydanticCustomError("no_instant", "{said}", {"said": str(error)}) from None
    return text


Amount = Annotated[str, BeforeValidator(_no_fraction), Field(max_length=40)]
When = Annotated[str, Field(max_length=40), AfterValidator(_instant)]
Text = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Rates(Asked):
    cached_input: Amount | None = None
    cache_write: Amount | None = None
    reasoning: Amount | None = None
    audio_input: Amount | None = None
    audio_output: Amount | None = None


class TierAsked(_Rates):
    above_input_tokens: Annotated[int, Field(gt=0)]
    input: Amount | None = None
    output: Amount | None = None


class PriceAsked(_Rates):
    provider: Text
    model: Text
    team_id: Id | None = None
    input: Amount
    output: Amount
    request: Amount | None = None
    tiers: Annotated[tuple[TierAsked, ...], Field(max_length=TIERS_MAX)] = ()
    effective_at: Annotated[
        When | None, Field(description="A day (in UTC) or an instant; now, where it is left out")
    ] = None
    source: Annotated[Text | None, Field(description="Where the price comes from: a contract, a page")] = None

    @model_validator(mode="after")
    def _exact(self) -> Self:
        self.rates()
        return self

    def rates(self) -> UsdRow:
        fields: dict[str, Any] = {name: getattr(self, name) for name in RATES_AND_FEE}
        fields["tiers"] = [tier.model_dump() for tier in self.tiers]
        try:
            return rates_of(fields)
        except BadPrice as error:
            name, _, said = str(error).partition(": ")
            raise PydanticCustomError("bad_price", "{said}", {"field": name, "said": said}) from None


class NewPriceAsked(PriceAsked):
    id: Id | None = None


class ImportAsked(Asked):
    prices: Annotated[tuple[PriceAsked, ...], Field(min_length=1, max_length=IMPORT_ROWS_MAX)]
    effective_at: Annotated[When | None, Field(description="Of rows that give none; now, where it is left out")] = None
    source: Annotated[Text | None, Field(description="Of rows that give none")] = None
    dry_run: bool = False


class RepriceAsked(Asked):
    since: Annotated[When, Field(description="Attempts from this day (in UTC) or instant on")]
    until: Annotated[When | None, Field(description="Up to this one, which is not included; now")] = None
    provider: Text | None = None
    model: Text | None = None
    everything: Annotated[bool, Field(description="Also attempts that had a price")] = False
    dry_run: bool = False


class PricesAsked(PageAsked):
    provider: Text | None = None
    model: Text | None = None
    team_id: Id | None = None
    retired: Annotated[bool, Field(description="Also those that price nothing any more")] = False


class InForceAsked(Asked):
    provider: Text
    model: Text
    team_id: Id | None = None
    at: When | None = None


class _RatesShown(BaseModel):
    input: str | None = None
    output: str | None = None
    cached_input: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None


class TierShown(_RatesShown):
    above_input_tokens: int


class _PriceShown(_RatesShown):
    provider: str
    model: str
    team_id: str | None = None
    version: Annotated[str, Field(description="What a ledger row that was priced by it says")]
    request: str | None = None
    tiers: list[TierShown] = []


class Price(_PriceShown):
    id: str
    effective_at: Instant
    source: str
    created_at: Instant
    retired_at: Instant | None = None


class Prices(Listing):
    data: list[Price]


class Imported(BaseModel):
    created: int
    unchanged: Annotated[int, Field(description="The list says the same for their time already")]
    dry_run: bool
    data: list[Price]


class Repriced(BaseModel):
    attempts: Annotated[int, Field(description="Attempts whose amount changed, or would")]
    amount_usd: Annotated[Usd, Field(description="What the ledger has more than before, or would")]
    unpriceable: Annotated[int, Field(description="Attempts that still nobody has a price for")]
    dry_run: bool


class PriceInForce(_PriceShown):
    at: Instant


def price_shown(row: Listed) -> Price:
    return Price(
        id=row.id,
        provider=row.provider,
        model=row.model,
        team_id=row.team_id,
        version=row.version,
        effective_at=instant_text(row.effective_at_us),
        source=row.source,
        created_at=instant_text(row.created_at_us),
        retired_at=optional_text(row.deleted_at_us),
        **fields_of(row.rates),
    )


def in_force_shown(asked: InForceAsked, price: InIntegers, at_us: int) -> PriceInForce:
    return PriceInForce(
        provider=asked.provider,
        model=asked.model,
        team_id=asked.team_id,
        version=price.version,
        at=instant_text(at_us),
        request=nano_text(price.request_nano_usd),
        tiers=[TierShown(above_input_tokens=tier.above_input_tokens, **_rates_text(tier)) for tier in price.tiers],
        **_rates_text(price),
    )


def nano_text(nano_usd: int) -> str | None:
    return decimal_text(pico_as_usd(nano_usd * 1000).scaleb(-6)) if nano_usd else None


def _rates_text(priced: InIntegers | TierInIntegers) -> Mapping[str, Any]:
    found = {name: getattr(priced, f"{name}_pico_usd") for name in RATES}
    return {name: None if pico is None else decimal_text(pico_as_usd(pico)) for name, pico in found.items()}
