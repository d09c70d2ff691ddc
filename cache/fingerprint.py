"""One request, one fingerprint: equal for requests that must get the same answer, different for all others. Pure.

The tenant comes first and with its length, so no body can be shaped into another tenant's. What is not known to leave
the answer alone is part of it: a doubtful field costs a miss, never a wrong answer.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import orjson

# They say who asks, where it is filed and where the provider looks for cached work, not what is answered.
NO_PART: Final = frozenset(
    {"user", "metadata", "safety_identifier", "store", "prompt_cache_key", "prompt_cache_retention"}
)
# Optional fields that the API takes as null for "not given"; where one value means the same, it stands here.
DEFAULTS: Final[Mapping[str, object]] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "max_completion_tokens": None,
    "max_tokens": None,
    "n": 1,
    "presence_penalty": 0,
    "response_format": {"type": "text"},
    "seed": None,
    "stop": None,
    "stream": False,
    "stream_options": None,
    # Absent means what the model prefers, which is not the same for all of them.
    "temperature": None,
    "tool_choice": None,
    "tools": None,
    "top_logprobs": None,
    "top_p": 1,
}


def fingerprint(scope: str, body: Mapping[str, object]) -> bytes:
    """SHA-256 of tenant and canonical body. `stream` is part of it: a stream is kept as the bytes that it was.

    Raises ValueError for what no JSON parser of ours can have made (numbers beyond 64 bits, lone surrogates).
    """
    kept: dict[str, object] = {}
    for name, value in body.items():
        if name in NO_PART:
            continue
        if name in DEFAULTS:
            if value is None:
                continue
            # 1 and 1.0 are one temperature; true and 1 are not one `n`.
            plain = int(value) if type(value) is float and value.is_integer() and abs(value) < 2**53 else value
            default = DEFAULTS[name]
            if plain == default and type(plain) is type(default):
                continue
            kept[name] = plain
        else:
            kept[name] = value
    tenant = scope.encode()
    try:
        canonical = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"the request is no JSON that can be compared ({error}): do not look it up") from error
    return sha256(len(tenant).to_bytes(8, "big") + tenant + canonical).digest()
