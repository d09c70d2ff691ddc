"""What the deployments of a configuration say that they cost."""

from typing import TYPE_CHECKING, Final

from billing.price_table import UsdRow, UsdTier, price_from_row

if TYPE_CHECKING:
    from billing.price import Price
    from gateway.config.schema import PriceRow, Settings

CONFIGURED: Final = "configured:"  # how the version of such a price begins


def price_of(row: "PriceRow", deployment_id: str) -> "Price":
    tiers = tuple(UsdTier(**tier.model_dump()) for tier in row.tiers)
    return price_from_row(f"{CONFIGURED}{deployment_id}", UsdRow(**row.model_dump(exclude={"tiers"}), tiers=tiers))


def deployment_id(name: str, place: int, provider: str, model: str) -> str:
    """Unique in a configuration, and a person finds the line by it."""
    return f"{name}[{place}]:{provider}/{model}"


def configured_prices(settings: "Settings") -> "dict[tuple[str, str], Price]":
    """By provider and model; of several deployments the first."""
    found: dict[tuple[str, str], Price] = {}
    for name, rows in settings.models.items():
        for place, row in enumerate(rows):
            if row.price is not None:
                its_id = deployment_id(name, place, row.provider, row.model)
                found.setdefault((row.provider, row.model), price_of(row.price, its_id))
    return found
