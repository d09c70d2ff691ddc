"""Takes secrets and addresses out of what a provider said before anybody sees it."""

import re
from typing import Final

TAKEN_OUT: Final = "[removed]"
_KEYLIKE: Final = re.compile(
    r"\b(?:sk|pk|rk|tp|gsk|xai|AIza)[-_][A-Za-z0-9*_\-]{6,}|\bAIza[A-Za-z0-9_\-]{20,}|\bBearer\s+\S+"
)
_ADDRESS: Final = re.compile(
    r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?\b|\blocalhost(?::\d{1,5})?\b|\[[0-9a-fA-F:]{3,}\](?::\d{1,5})?"
)


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """`secrets` are the provider's own: its keys, its host, its base URL; longest first."""
    for secret in secrets:
        if secret and secret in text:
            text = text.replace(secret, TAKEN_OUT)
    return _ADDRESS.sub(TAKEN_OUT, _KEYLIKE.sub(TAKEN_OUT, text))
