"""The load generator believes no answer that is not whole: each way of being wrong is told apart."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import provision
from bench.phases import body
from bench.targets import ask

pytestmark = pytest.mark.process

Answer = Callable[[str], bytes]
SENTENCE = "The toll is two shillings, #{number}#"


def whole(number: str) -> bytes:
    text = json.dumps({"content": SENTENCE.format(number=number), "usage": {"total_tokens": 3}}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def stream(lines: list[str]) -> bytes:
    text = "".join(f"data: {line}\n\n" for line in lines).encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)


def good_lines(number: str) -> list[str]:
    chunks = [f'{{"content":"#{number}:{i:05d}:0000000000000000001#"}}' for i in range(3)]
    return [*chunks, '{"finish_reason":"stop"}', '{"usage":{"total_tokens":3}}', "[DONE]"]


def without(number: str, at: int) -> bytes:
    lines = good_lines(number)
    del lines[at]
    return stream(lines)


def swapped(number: str) -> bytes:
    lines = good_lines(number)
    return stream([lines[1], lines[0], *lines[2:]])


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """Answers each request on a connection with what `answer` makes of its running number."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                length = 0
                while line.strip():
                    name, _, value = line.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                    line = reader.readline()
                number = reader.read(length).decode().rsplit("#", 2)[1]
                connection.sendall(answer(number))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def load(port: int, tmp_path: Path, *words: str) -> dict[str, object]:
    file = tmp_path / "body.json"
    file.write_bytes(body(1, "m", stream=False))
    command: list[str] = [
        str(provision.native("loadgen")),
        "--port",
        str(port),
        "--body",
        str(file),
        "--connections",
        "1",
        "--count",
        "5",
        *words,
    ]
    result: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    return result


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (whole, None),
        (lambda n: whole(n).replace(b"200 OK", b"500 No"), "status"),
        (lambda n: whole(n).replace(b"two", b"six"), "content"),
        (lambda n: whole(n[::-1]), "not_its_own_answer"),
        (lambda n: whole(n) + b"x", "surplus_bytes"),
        (lambda n: whole(n).replace(b"Content-Length", b"Content-Lengs"), "framing"),
        (lambda n: whole(n).replace(b"total_tokens", b"total_tokenz"), "no_usage"),
    ],
)
def test_a_wrong_answer_is_counted_under_its_reason(answer: Answer, reason: str | None, tmp_path: Path) -> None:
    with server(answer) as port:
        result = load(port, tmp_path)
    assert result["wrong_by"] == ({reason: 5} if reason else {})
    assert result["right"] == (0 if reason else 5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda n: stream(good_lines(n)), None),
        (lambda n: without(n, 2), "chunk_count"),
        (swapped, "chunk_order"),
        (lambda n: without(n, 3), "no_finish_reason"),
        (lambda n: without(n, 4), "no_usage"),
        (lambda n: without(n, 5), "no_done"),
        (lambda n: stream([*good_lines(n), "more"]), "content"),
        (lambda n: stream(good_lines(n[::-1])), "not_its_own_answer"),
    ],
)
def test_a_wrong_stream_is_counted_under_its_reason(answer: Answer, reason: str | None, tmp_path: Path) -> None:
    with server(answer) as port:
        result = load(port, tmp_path, "--stream", "--chunks", "3")
    assert result["wrong_by"] == ({reason: 5} if reason else {})


@contextmanager
def mock() -> Iterator[int]:
    (port,) = provision.free_ports(1)
    process = subprocess.Popen([provision.native("mock"), str(port)], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline() == b"open\n"
        yield port
    finally:
        process.terminate()
        process.wait(5)
        process.stdout.close()


@pytest.mark.parametrize("streaming", [False, True])
def test_the_mock_answers_right_and_its_bill_is_the_sum_of_its_answers(tmp_path: Path, *, streaming: bool) -> None:
    with mock() as port:
        file = tmp_path / "body.json"
        file.write_bytes(body(20, "m", stream=streaming))
        words = [*(("--stream", "--chunks", "64") if streaming else ()), "--count", "40"]
        command = [
            str(provision.native("loadgen")),
            "--port",
            str(port),
            "--body",
            str(file),
            *words,
            "--connections",
            "4",
        ]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
        single = ask(port, "/v1/chat/completions", "", body(1, "m", stream=False))
        counts = json.loads(ask(port, "/mock/counts", "")[1])
    assert (result["right"], result["wrong_by"]) == (40, {})
    assert counts["requests"] == counts["answers"] == 41
    assert counts["streams"] == (40 if streaming else 0)
    assert json.loads(single[1])["usage"]["prompt_tokens"] == 150  # of number 0, which nobody else has
    assert 41 * 150 < counts["input_tokens"] < 41 * 251


def test_the_mock_refuses_what_is_no_chat_request() -> None:
    with mock() as port:
        status, _ = ask(port, "/v1/chat/completions", "", b'{"messages": [')
        assert status == 400
        assert json.loads(ask(port, "/mock/counts", "")[1])["refused"] == 1
