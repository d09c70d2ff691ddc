"""How much an attempt can cost at most, told from its body, and how much output a smaller hold has room for. Pure.

No tokenizer makes more tokens of a text than it has bytes, and the JSON around a message is longer than any template's
own tokens; what the body only points at (images by address) has an allowance of its own.
"""

from typing import Final, NamedTuple

from billing.price import Price, output_within, reservation_nano_usd
from gateway.chat_request import ChatAsk

LEAST_OUTPUT_TOKENS: Final = 256  # an answer of less is of little use to anybody
# OpenAI's largest: a picture of 2048 by 2048 in high detail, 85 + 4 x 4 tiles of 170; the small models of the 4o line
# count each tile at 33 times that.
IMAGE_TOKENS_MAX: Final = 3_000
IMAGE_TOKENS_MAX_OF: Final = (("gpt-4o-mini", 93_500),)


class Bound(NamedTuple):
    """What an attempt may use. `output_tokens` is of each of its `choices`."""

    input_tokens: int
    output_tokens: int
    choices: int


def bound_of(
    ask: ChatAsk, model: str, output_tokens_max: int, known_output_max: int | None, context_tokens_max: int | None
) -> Bound:
    """The smaller of the caller's limit and the model's, behind a prompt that no tokenizer makes longer.

    `output_tokens_max` stands for a limit that the caller did not give; `known_output_max` is the model's own.
    """
    input_tokens = len(ask.body)
    if ask.images:
        input_tokens += ask.images * next(
            (tokens for name, tokens in IMAGE_TOKENS_MAX_OF if model.startswith(name)), IMAGE_TOKENS_MAX
        )
    if context_tokens_max is not None:
        input_tokens = min(input_tokens, context_tokens_max)
    output_tokens = ask.output_tokens_max
    if output_tokens is None:
        output_tokens = output_tokens_max
    elif known_output_max is not None and output_tokens > known_output_max:
        output_tokens = known_output_max
    return Bound(input_tokens, output_tokens, ask.choices)


def most_nano_usd(bound: Bound, price: Price) -> int:
    """The whole hold."""
    return reservation_nano_usd(bound.input_tokens, bound.output_tokens * bound.choices, price)


def least_nano_usd(bound: Bound, price: Price) -> int:
    """The least hold that is of use: the input, and a short answer or all that the caller wants."""
    output_tokens = min(bound.output_tokens, LEAST_OUTPUT_TOKENS)
    return reservation_nano_usd(bound.input_tokens, output_tokens * bound.choices, price)


def output_for(amount_nano_usd: int, bound: Bound, price: Price) -> int:
    """The output limit of each choice that a hold of that amount covers."""
    covered = output_within(amount_nano_usd, bound.input_tokens, price)
    return bound.output_tokens if covered is None else min(bound.output_tokens, covered // bound.choices)
