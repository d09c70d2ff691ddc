"""All provider rows by name, and the questions that are asked of them: a row that is a file is a row here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.providers import (
    anthropic,
    cerebras,
    deepseek,
    fireworks,
    gemini,
    groq,
    local,
    mistral,
    ollama,
    openai,
    openrouter,
    together,
    xai,
)
from gateway.providers.row import ProviderDefaults

ROWS: Final[Mapping[str, ProviderDefaults]] = MappingProxyType(
    {
        module.ROW.name: module.ROW
        for module in (
            openai,
            anthropic,
            gemini,
            mistral,
            groq,
            deepseek,
            openrouter,
            xai,
            together,
            fireworks,
            cerebras,
            ollama,
            local,
        )
    }
)

# What the API does when a field is left out, as clients spell it: sending it asks for nothing.
ASKS_NOTHING: Final[Mapping[str, tuple[object, ...]]] = MappingProxyType(
    {
        "audio": (None,),
        "frequency_penalty": (None, 0),
        "logit_bias": (None, {}),
        "logprobs": (None, False),
        "modalities": (None, ["text"]),
        "prediction": (None,),
        "presence_penalty": (None, 0),
        "response_format": (None, {"type": "text"}),
        "seed": (None,),
        "top_logprobs": (None, 0),
    }
)


@dataclass(frozen=True, slots=True)
class Fit:
    """What has to change before a body goes to a provider; `refused` names the field that it cannot take."""

    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    refused: str | None = None


FITS: Final = Fit()


def fit(row: ProviderDefaults, body: Mapping[str, object]) -> Fit:
    """How a parsed request body fits a provider. Where the new name is given as well, the old one is dropped."""
    # Most traffic goes where nothing has to change; asking that first costs a quarter of finding it out.
    if row.stream_usage and not (row.unsupported or row.renamed or row.dropped):
        return FITS
    dropped = [name for name in row.dropped if name in body]
    if not row.stream_usage and "stream_options" in body:
        dropped.append("stream_options")
    for name in row.unsupported:
        if name in body:
            if body[name] not in ASKS_NOTHING.get(name, (None,)):
                return Fit(refused=name)
            dropped.append(name)
    renamed = [(old, new) for old, new in row.renamed.items() if old in body]
    dropped += [old for old, new in renamed if new in body]
    kept = tuple((old, new) for old, new in renamed if new not in body)
    return Fit(tuple(sorted(dropped)), kept) if dropped or kept else FITS


def provider_of(model: str, configured: Iterable[str]) -> str | None:
    """The first configured provider that is known to have a bare model name."""
    return next((name for name in configured if name in ROWS and ROWS[name].knows(model)), None)
