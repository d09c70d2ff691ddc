"""What a parent hands to a worker as it starts, over the worker's standard input, whose other end it keeps.

Settings hold secrets, so they pass through no argument, variable or file; and each worker gets what the first ones got,
whatever became of the configuration's file since.
"""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from gateway.config.schema import Settings
from gateway.workers.worker import Worker

_LENGTH: Final = struct.Struct("<I")

UP: Final = "up"
CANNOT: Final = "cannot"


@dataclass(frozen=True, slots=True)
class Handover:
    settings: Settings
    environ: Mapping[str, str]
    admin_secret: str
    worker: Worker
    parent_pid: int


def packed(handover: Handover) -> bytes:
    document = pickle.dumps(handover)
    return _LENGTH.pack(len(document)) + document


def received(stream: BinaryIO) -> Handover:
    (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
    handover = pickle.loads(stream.read(length))  # noqa: S301  # from the process that started this one, over its pipe
    assert isinstance(handover, Handover)
    return handover
