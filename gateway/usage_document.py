"""What a chat completion says of its usage, in OpenAI's shape and its dialects.

Apart from `gateway.usage`, which is compiled: msgspec reads these annotations, and a compiled class has lost them.
"""

from typing import Annotated

import msgspec

# What is no count is left to the slower reading, which makes nothing of it.
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class PromptDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    audio_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class UsageDocument(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Count | None = None  # DeepSeek's word for cached_tokens


class AnswerDocument(msgspec.Struct):
    choices: list[msgspec.Raw]
    usage: UsageDocument | None = None
