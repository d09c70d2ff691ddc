"""The official Python client, unmodified, with nothing changed but its base_url and its key."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.gateway import Gateway, Key, eventually
from tests.fakes.bill import Tokens, usd_text
from tests.fakes.script import Close, Says, broken_stream, refusal, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

    from tests.fakes.provider import Provider

pytestmark = pytest.mark.slow

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
LOOK: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"where": {"type": "string"}}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where":"здесь"}'}}


@pytest.fixture
def client(gateway: Gateway, key: Key) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.v1, api_key=key.secret, max_retries=0, timeout=20) as made:
        yield made


def test_an_answer(client: openai.OpenAI, one: Provider, model: str) -> None:
    one.queue(model, reply(Says(pieces=("grüße 🚀",))))
    answer = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    completion = answer.parse()
    assert completion.choices[0].message.content == "grüße 🚀"
    assert completion.usage is not None
    assert answer.headers["x-turnpike-cost-usd"] == usd_text(one.bill_nano_usd(model))


def test_a_stream_with_its_usage_and_its_exact_cost(client: openai.OpenAI, one: Provider, model: str) -> None:
    one.queue(model, reply(Says(pieces=("数", "据", " 🚀"), tokens=Tokens(400, 30, cached=100))))
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options=options))  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "数据 🚀"
    assert chunks[-1].usage.prompt_tokens == 400
    assert chunks[-1].turnpike["cost_usd"] == usd_text(one.bill_nano_usd(model))


def test_a_stream_that_did_not_ask_for_usage_shows_none(client: openai.OpenAI, model: str) -> None:
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_call_and_its_result(client: openai.OpenAI, one: Provider, model: str, streamed: bool) -> None:
    one.queue(model, reply(Says(pieces=(), tool_calls=(CALL,), finish="tool_calls")), reply(Says(pieces=("a wall",))))
    if streamed:
        with client.chat.completions.stream(model=model, messages=HELLO, tools=[LOOK]) as stream:
            calls = [
                call.function.arguments for call in stream.get_final_completion().choices[0].message.tool_calls or ()
            ]
    else:
        answer = client.chat.completions.create(model=model, messages=HELLO, tools=[LOOK])
        calls = [
            call.function.arguments for call in answer.choices[0].message.tool_calls or () if call.type == "function"
        ]
    assert calls == ['{"where":"здесь"}']
    history: list[ChatCompletionMessageParam] = [
        *HELLO,
        {"role": "assistant", "tool_calls": [CALL]},  # type: ignore[list-item]
        {"role": "tool", "tool_call_id": "call_1", "content": "a wall"},
    ]
    last = client.chat.completions.create(model=model, messages=history, tools=[LOOK])
    assert last.choices[0].message.content == "a wall"
    assert one.asked(model)[1].document()["messages"] == history


def test_an_image_and_structured_output(client: openai.OpenAI, one: Provider, model: str) -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 100).decode()
    one.queue(model, reply(Says(pieces=('{"color":"red"}',))))
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        response_format={"type": "json_object"},
        logprobs=True,
        extra_body={"provider_option": {"x": 1}},
    )
    assert answer.choices[0].message.content == '{"color":"red"}'
    sent = one.asked(model)[0].document()
    assert url in str(sent["messages"])
    assert sent["provider_option"] == {"x": 1}


def test_a_provider_that_fails_is_replaced(client: openai.OpenAI, one: Provider, pair: str) -> None:
    one.always(pair, refusal(503))
    answer = client.chat.completions.with_raw_response.create(model=pair, messages=HELLO)
    assert answer.headers["x-turnpike-provider"] == "two"
    assert answer.parse().choices[0].message.content == "Hello, world"


def test_a_stream_that_breaks_after_its_first_word_raises(client: openai.OpenAI, one: Provider, model: str) -> None:
    one.always(model, broken_stream(Says(), Close(), after=3))
    words = []
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - the words before the failure are counted
        for chunk in client.chat.completions.create(model=model, messages=HELLO, stream=True):
            words.append(chunk.choices[0].delta.content)  # noqa: PERF401
    assert words == ["", "Hello", ", "]
    assert caught.value.code == "provider_error"


def test_a_cache_hit(client: openai.OpenAI, one: Provider, model: str) -> None:
    answers = [
        client.chat.completions.with_raw_response.create(model=model, messages=HELLO, temperature=0) for _ in range(2)
    ]
    assert [answer.headers["x-turnpike-cache"] for answer in answers] == ["miss", "exact"]
    assert answers[0].parse() == answers[1].parse()
    assert len(one.asked(model)) == 1


def test_refusals_are_the_clients_own_exceptions(
    gateway: Gateway, client: openai.OpenAI, one: Provider, model: str
) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none-such", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError) as unknown:
        client.with_options(api_key="tp-unknown").chat.completions.create(model=model, messages=HELLO)
    assert unknown.value.code == "invalid_api_key"
    narrow = gateway.create_key(models_allowed=["other"])
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.with_options(api_key=narrow.secret).chat.completions.create(model=model, messages=HELLO)
    assert refused.value.code == "model_not_allowed"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=model, messages=HELLO, temperature="hot")  # type: ignore[call-overload]
    assert wrong.value.param == "temperature"
    assert wrong.value.request_id == wrong.value.response.headers["x-request-id"]
    assert one.asked(model) == []


def test_a_revoked_key_is_refused(gateway: Gateway, key: Key, client: openai.OpenAI, model: str) -> None:
    client.chat.completions.create(model=model, messages=HELLO)
    gateway.admin("DELETE", f"keys/{key.id}", 200)

    def is_refused() -> bool:
        try:
            client.chat.completions.create(model=model, messages=HELLO)
        except openai.AuthenticationError:
            return True
        return False

    eventually(is_refused, "the key is refused", within_s=1)


async def test_many_streams_at_once(gateway: Gateway, key: Key, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.v1, api_key=key.secret, max_retries=0, timeout=30) as client:

        async def one_stream() -> str:
            stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*(one_stream() for _ in range(50))) == ["Hello, world"] * 50
