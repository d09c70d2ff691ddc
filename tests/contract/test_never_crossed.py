"""Whoever asks gets the answer to their own question, however many ask, leave and fail on the same connections."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tests.e2e.gateway import Gateway, Key, chat, sse_data
from tests.e2e.raw_client import RawClient, request_bytes
from tests.fakes.script import Close, Received, Says, Step, Wire, broken_stream, hang_up, refusal, reply

if TYPE_CHECKING:
    from tests.fakes.provider import Provider

CALLERS: Final = 12
QUESTIONS: Final = 25
WIRES: Final = (Wire(), Wire(framing="chunked", piece_bytes=50), Wire(encoding="gzip"), Wire(framing="close"))


def moody(request: Received) -> tuple[Step, ...]:
    """Answers with the question, in one of many ways, now and then badly: decided by the question alone."""
    question = str(json.loads(request.body)["messages"][0]["content"])
    chance = random.Random(question)
    says = Says(pieces=(question, " ", "x" * chance.randrange(5000)))
    if question.startswith("badly"):
        bad = (broken_stream(says, Close(), after=3), refusal(400), refusal(500), hang_up())
        return chance.choice(bad)(request)
    return reply(says, chance.choice(WIRES), gap_s=chance.choice((0, 0, 0.002)))(request)


def caller(gateway: Gateway, key: Key, model: str, number: int) -> None:
    chance = random.Random(number)
    for n in range(QUESTIONS):
        mood = chance.choice(("well", "well", "well", "badly", "leave"))
        question = f"{mood} {number}-{n}-{'q' * chance.randrange(300)}"
        streamed = chance.random() < 0.5
        body = json.dumps(chat(model, question, stream=streamed)).encode()
        with RawClient(gateway.port) as client:
            client.send(request_bytes(body, key.secret))
            if mood == "leave":
                continue
            answer = client.answer()
        if mood == "well":
            assert answer.status == 200, answer
            assert content(answer.body, streamed=streamed).startswith(question + " ")
        elif answer.status == 200:
            assert question.encode() in answer.body


def content(body: bytes, *, streamed: bool) -> str:
    if not streamed:
        whole: str = json.loads(body)["choices"][0]["message"]["content"]
        return whole
    chunks = [json.loads(part) for part in sse_data(body)[:-1]]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_answers_are_never_crossed(gateway: Gateway, key: Key, one: Provider, two: Provider, pair: str) -> None:
    one.always(pair, moody)
    two.always(pair, moody)
    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(caller, gateway, key, pair, number) for number in range(CALLERS)]:
            done.result()
    assert gateway.alive()
    assert gateway.ask(key, chat(pair, "well again")).status_code == 200
