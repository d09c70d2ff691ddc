"""What a provider's row may say: the facts that tell one OpenAI-compatible endpoint from another, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProviderDefaults:
    """Facts of one provider; what an operator configures overrides them."""

    name: str
    base_url: str  # no slash at its end; empty where only a running replica knows its address
    key_env: str | None  # the usual variable; None where no key is needed
    key_env_also: tuple[str, ...] = ()  # other usual names for the same, looked at in this order
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    # Refused by name before anything is sent: fields that shape an answer and that the provider rejects or, worse,
    # ignores. A null, or the value that the API has for a field left out, is dropped instead (see `registry.fit`).
    unsupported: frozenset[str] = frozenset()
    # Taken out without a word: fields that shape no answer and that the provider rejects.
    dropped: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # OpenAI's name -> theirs
    # Whether `stream_options.include_usage` is understood. Where not, it is taken out, also when the client sent it:
    # such providers send a stream's usage unasked.
    stream_usage: bool = True
    # How a limit on the answer's length is sent where the caller sets none (in OpenAI's names; `renamed` applies).
    limit_field: str = "max_tokens"
    known_models: tuple[str, ...] = ()  # beginnings of model names that are this provider's own
    foreign_models: tuple[str, ...] = ()  # beginnings that look like it and are not

    def knows(self, model: str) -> bool:
        """Whether a bare model name is this provider's."""
        return model.startswith(self.known_models) and not model.startswith(self.foreign_models)
