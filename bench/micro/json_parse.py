"""Which parser reads a chat request and an answer's usage cheapest? Run: python -m bench.micro.json_parse"""

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from bench.micro.timing import show
from bench.phases import body

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 600}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 184, "completion_tokens": 24, "total_tokens": 208},
    }
)


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class Answer(msgspec.Struct):
    usage: Usage | None = None


def main() -> None:
    raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    any_decoder = msgspec.json.Decoder(dict[str, Any])
    answer_decoder = msgspec.json.Decoder(Answer)
    for kilobytes in (1, 20, 200):
        text = body(kilobytes, "gpt-4o-mini", stream=False)
        print(f"\na request of {len(text):,} bytes")
        readers: dict[str, Callable[[bytes], object]] = {
            "orjson.loads": orjson.loads,
            "msgspec, values left raw": raw_decoder.decode,
            "msgspec, whole": any_decoder.decode,
            "json.loads": json.loads,
        }
        show({name: partial(reader, text) for name, reader in readers.items()})
    print(f"\nusage out of an answer of {len(ANSWER):,} bytes")
    show(
        {
            "orjson.loads": lambda: orjson.loads(ANSWER)["usage"],
            "msgspec struct": lambda: answer_decoder.decode(ANSWER).usage,
        }
    )


if __name__ == "__main__":
    main()
