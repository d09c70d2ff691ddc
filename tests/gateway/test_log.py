"""The log is one JSON object a line, on standard error."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING

from gateway.log import JsonLines, configure_log, line_sink

if TYPE_CHECKING:
    import pytest


def test_a_record_is_one_line_of_json_with_its_traceback() -> None:
    try:
        int("odd\nthing")
    except ValueError:
        record = logging.LogRecord("turnpike", logging.ERROR, "", 0, "failed: %s", ("x",), sys.exc_info())
    record.created = 1_700_000_000.25
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told["time"] == "2023-11-14T22:13:20.250Z"
    assert (told["level"], told["logger"], told["message"]) == ("error", "turnpike", "failed: x")
    assert "ValueError: invalid literal" in told["exception"]


def test_our_own_news_are_told_and_others_chatter_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    root, own = logging.getLogger(), logging.getLogger("turnpike")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    try:
        configure_log()
        own.info("ours")
        logging.getLogger("other").info("theirs")
        logging.getLogger("other").warning("a warning")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        own.setLevel(own_level)
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["ours", "a warning"]


def test_request_lines_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(raw)))
    line_sink()(b'{"a":1}\n')
    assert raw.getvalue() == b'{"a":1}\n'
