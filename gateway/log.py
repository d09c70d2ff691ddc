"""JSON log lines on standard error: one an event, with the request id where there is one."""

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import orjson


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(line).decode()


def configure_log() -> None:
    """Sends everything from warnings up, and our own news, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("turnpike").setLevel(logging.INFO)


def line_sink() -> Callable[[bytes], None]:
    """Where the flusher writes the request lines of a batch: unbuffered, beside the log."""
    stream = sys.stderr.buffer

    def write(lines: bytes) -> None:
        stream.write(lines)
        stream.flush()

    return write
