"""A stand-in for `vllm serve`: the same routes, the same three processes and the same lies, up in a tenth of a second.

Like the real one it keeps its port closed until it is ready, answers /health with 200 while its engine is frozen,
leaves with exit status 0 when its engine was killed, and leaves engine and worker behind when it is killed itself.
The `--fake-*` flags choose what goes wrong; `--fake-diary` names a file that gets a line at each start.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PR_SET_NAME = 15


def say(process: str, text: str) -> None:
    print(f"({process} pid={os.getpid()}) {text}", flush=True)


def name_process(name: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def worker() -> None:
    name_process("VLLM::Worker")
    while True:
        time.sleep(60)


def engine(line: socket.socket) -> None:
    name_process("VLLM::EngineCore")
    if os.fork() == 0:
        worker()
    while True:
        if not line.recv(1):
            # Its API server is gone. The real one goes on all the same (vllm#55510).
            time.sleep(60)
        line.send(b"!")


class Api(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, options: argparse.Namespace, line: socket.socket, engine_pid: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.options = options
        self.line = line
        self.engine_pid = engine_pid
        self.turn = threading.Lock()
        self.tokens = 0
        self.open = 0
        self.engine_died = False

    def work(self) -> None:
        """As long as the engine is frozen this hangs, and so does who waits for his turn."""
        with self.turn:
            self.line.send(b"?")
            self.line.recv(1)
            self.tokens += 1


class Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        print(f'INFO:     127.0.0.1:1 - "{self.requestline}" {arguments[1] if len(arguments) > 1 else ""}', flush=True)

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if self.server.engine_died else 200, b"")
        elif self.path == "/metrics":
            self.reply(
                200,
                f'vllm:num_requests_running{{engine="0"}} {float(self.server.open)}\n'
                'vllm:num_requests_waiting{engine="0"} 0.0\n'
                f'vllm:generation_tokens_total{{engine="0"}} {float(self.server.tokens)}\n'.encode(),
            )
        else:
            self.reply(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.options.fake_refuse:
            self.reply(500, b'{"error": {"message": "no"}}')
            return
        self.server.open += 1
        try:
            time.sleep(self.server.options.fake_answer_s)
            self.server.work()
            self.answer(body)
        finally:
            self.server.open -= 1

    def answer(self, body: dict[str, Any]) -> None:
        if self.path == "/v1/completions":
            self.reply_json({"choices": [{"text": "!", "finish_reason": "length"}]})
        elif self.path == "/v1/embeddings":
            self.reply_json({"data": [{"embedding": [1.0]}]})
        elif body.get("stream"):
            self.stream()
        elif body.get("tools"):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"city": "Lisbon"}'}
            call = {"id": "call-1", "type": "function", "function": function}
            self.reply_choice({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")
        else:
            self.reply_choice({"role": "assistant", "content": "Hello! What can I do for you?"}, "stop")

    def reply_choice(self, message: dict[str, Any], reason: str) -> None:
        usage = {"prompt_tokens": 11, "completion_tokens": 10, "total_tokens": 21}
        self.reply_json({"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage})

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for text in ("Hello", "!", None):
            delta = {"content": text} if text else {}
            event = {"choices": [{"index": 0, "delta": delta, "finish_reason": None if text else "stop"}]}
            self.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def reply_json(self, body: dict[str, Any]) -> None:
        self.reply(200, json.dumps(body).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("verb")
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--fake-diary", type=Path)
    parser.add_argument("--fake-start-s", type=float, default=0)
    parser.add_argument("--fake-crashes", type=int, default=0, help="so many starts fail before one succeeds")
    parser.add_argument("--fake-mute", action="store_true", help="writes nothing and never comes up")
    parser.add_argument("--fake-refuse", action="store_true", help="healthy, but completes nothing")
    parser.add_argument("--fake-stubborn", action="store_true", help="ignores SIGTERM")
    parser.add_argument("--fake-answer-s", type=float, default=0)
    return parser.parse_known_args()[0]


def note_start(diary: Path | None) -> int:
    if diary is None:
        return 1
    with diary.open("a") as file:
        file.write(json.dumps(sys.argv[1:]) + "\n")
    return len(diary.read_text().splitlines())


def fail_to_start() -> None:
    say("EngineCore", "ERROR 11-25 01:02:03 [core.py:99] ValueError: No available memory for the cache blocks.")
    say("APIServer", "ERROR 11-25 01:02:03 [api.py:9] RuntimeError: Engine core initialization failed.")
    sys.exit(1)


def main() -> None:
    options = read_options()
    starts = note_start(options.fake_diary)
    if options.fake_mute:
        time.sleep(600)
    say("APIServer", "INFO 11-25 01:02:03 [model.py:733] Resolved architecture: Qwen3ForCausalLM")
    if starts <= options.fake_crashes:
        fail_to_start()
    until = time.monotonic() + options.fake_start_s
    while time.monotonic() < until:
        say("Worker", "Loading safetensors checkpoint shards:  50% Completed | 1/2")
        time.sleep(0.05)
    ours, theirs = socket.socketpair()
    engine_pid = os.fork()
    if engine_pid == 0:
        ours.close()
        engine(theirs)
    theirs.close()
    api = Api(options.port, options, ours, engine_pid)

    def leave() -> None:
        # As the real one: open requests are finished, then everything it started is taken along.
        while api.open:
            time.sleep(0.01)
        os.killpg(0, signal.SIGKILL)

    def mourn() -> None:
        os.waitpid(engine_pid, 0)
        api.engine_died = True
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            say("APIServer", "ERROR 11-25 01:02:03 [core_client.py:7] Engine core died unexpectedly.")
        os._exit(0)

    if options.fake_stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave, daemon=True).start())
    threading.Thread(target=mourn, daemon=True).start()
    say("APIServer", "INFO:     Application startup complete.")
    api.serve_forever()


if __name__ == "__main__":
    main()
