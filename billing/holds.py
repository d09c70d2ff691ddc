"""An attempt's hold, its kinds of entry, and how both are written into the journal."""

from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from billing.price import Price, Tier, Usage, cost_nano_usd
from billing.scopes import Dimensions
from billing.wallets import Wallet

REQUEST_ID_CHARS_MAX: Final = 48  # a usage record's promised room depends on it


class EntryKind(IntEnum):
    """The codes are stored; a new kind takes a new number."""

    ACTUAL = 1
    ESTIMATED = 2
    UNKNOWN = 3  # sent, and nothing heard of what it used: `unknown_charge`
    OVERRUN = 4
    REFUND = 5
    ADJUSTMENT = 6
    SAVING = 7  # what an answer from the cache had cost: a memo, never spend
    OPENING = 8  # what had been spent elsewhere before it moved in here


class Hold(NamedTuple):
    """What one attempt may cost. Attempts of a request are numbered from 1.

    The fields from `key_id` to `model`, `tags` and the organization name the account that is charged.
    """

    request_id: str
    attempt: int
    opened_at_us: int
    key_id: str
    team_id: str | None
    user_id: str | None
    end_user: str | None
    provider: str
    model: str
    model_asked: str
    tags: tuple[str, ...]
    price: Price
    amount_nano_usd: int
    organization_id: str | None = None
    input_tokens: int = 0
    """The prompt's, counted generously, where these alone are charged should its outcome stay unknown; 0: the hold."""


def charge_of(hold: Hold) -> Dimensions:
    """Whom a hold is charged to, as budgets see it."""
    return charge(hold[13], hold[4], hold[5], hold[3], hold[6], hold[7], hold[8], hold[10])


def charge(
    organization_id: str | None,
    team_id: str | None,
    user_id: str | None,
    key_id: str,
    end_user: str | None,
    provider: str,
    model: str,
    tags: tuple[str, ...],
) -> Dimensions:
    if end_user is not None and "\0" in end_user:  # the one text here that is a caller's own; no database keeps a NUL
        end_user = end_user.replace("\0", "\ufffd")
    fields = (organization_id, team_id, user_id, key_id, end_user, provider, model, tags)
    return tuple.__new__(Dimensions, fields)  # a named tuple's own constructor is interpreted


def unknown_charge(hold: Hold, *, bound: bool) -> tuple[Usage, int]:
    """What an attempt is charged of which nothing was heard: its input where that was agreed and no hard budget binds
    it by now; else all that it may have cost.
    """
    if bound or not hold.input_tokens:
        return Usage(), hold.amount_nano_usd
    usage = Usage(input_tokens=hold.input_tokens)
    return usage, min(cost_nano_usd(usage, hold.price), hold.amount_nano_usd)


class Posting(NamedTuple):
    """A settlement on its way into the ledger; `segment` is where the journal keeps its hold (0: nowhere)."""

    hold: Hold
    usage: Usage
    amount_nano_usd: int
    kind: int
    segment: int
    wallets: tuple[Wallet, ...] = ()  # whose slices it comes out of


_Maybe = int | None
_Tier = tuple[int, int, int, int, _Maybe, _Maybe, _Maybe, _Maybe]
_Price = tuple[str, int, int, int, int, int, int, int, int, tuple[_Tier, ...]]
_Named = tuple[str, int, int, str, str | None, str | None, str | None, str, str, str, tuple[str, ...]]

encode: Final = msgspec.msgpack.Encoder().encode
_hold_decoder: Final = msgspec.msgpack.Decoder(tuple[_Named, _Price, int, str | None])
_long_hold_decoder: Final = msgspec.msgpack.Decoder(tuple[_Named, _Price, int, str | None, int])
_ARRAY_OF_FIVE: Final = 0x95
_name_decoder: Final = msgspec.msgpack.Decoder(tuple[str, int])
_progress_decoder: Final = msgspec.msgpack.Decoder(tuple[str, int, Usage])
_usage_decoder: Final = msgspec.msgpack.Decoder(tuple[str, int, Usage, int, int])


def encode_price(price: Price) -> msgspec.Raw:
    """A price in the form in which a hold's record carries it: encoded once, copied into each."""
    tiers = tuple(
        (
            tier.above_input_tokens,
            tier.input_pico_usd,
            tier.cached_input_pico_usd,
            tier.output_pico_usd,
            tier.cache_write_pico_usd,
            tier.reasoning_pico_usd,
            tier.audio_input_pico_usd,
            tier.audio_output_pico_usd,
        )
        for tier in price.tiers
    )
    return msgspec.Raw(
        encode(
            (
                price.version,
                price.input_pico_usd,
                price.output_pico_usd,
                price.cached_input_pico_usd,
                price.cache_write_pico_usd,
                price.reasoning_pico_usd,
                price.audio_input_pico_usd,
                price.audio_output_pico_usd,
                price.request_nano_usd,
                tiers,
            )
        )
    )


def encode_hold(hold: Hold, price: msgspec.Raw) -> bytes:
    fields: Any = hold  # untyped: compiled, a slice of typed fields is taken apart and put together again
    if fields[14]:
        return encode((fields[:11], price, fields[12], fields[13], fields[14]))
    return encode((fields[:11], price, fields[12], fields[13]))  # as every release reads it


def decode_hold(payload: bytes) -> Hold:
    input_tokens = 0
    if payload[:1] == bytes((_ARRAY_OF_FIVE,)):
        named, price, amount, organization_id, input_tokens = _long_hold_decoder.decode(payload)
    else:
        named, price, amount, organization_id = _hold_decoder.decode(payload)
    pinned = Price(*price[:9], tuple(Tier(*tier) for tier in price[9]))
    return Hold(*named, pinned, amount, organization_id, input_tokens)


def decode_name(payload: bytes) -> tuple[str, int]:
    return _name_decoder.decode(payload)


def decode_progress(payload: bytes) -> tuple[str, int, Usage]:
    return _progress_decoder.decode(payload)


def decode_usage(payload: bytes) -> tuple[str, int, Usage, int, int]:
    return _usage_decoder.decode(payload)
