"""How a journal is laid out in bytes: length, checksum, type, payload. Pure; reads what a crash left."""

import re
import struct
import zlib
from collections.abc import Iterator
from enum import IntFlag
from typing import Final, NamedTuple

MAGIC: Final = b"TPJRNL01"
FRAME: Final = struct.Struct("<IIB")  # length of the payload, checksum, type
END: Final = b"\0\0\0\0"  # the next record's length, so that the leavings of a recycled segment are not read
_ZEROS: Final = re.compile(b"\0\0+")


class Mark(IntFlag):
    """A record's type. One record may carry two that happen together, so that neither is without the other."""

    R = 1  # a hold is taken
    D = 2  # the first byte may go upstream from here on
    P = 4  # a stream's usage so far
    U = 8  # the final usage
    S = 16  # settled
    X = 32  # released


class Record(NamedTuple):
    mark: Mark
    payload: bytes


def records(image: bytes, number: int) -> Iterator[Record]:
    """The records of a segment's bytes, up to its end or to the first that is not whole."""
    if image[: len(MAGIC)] != MAGIC:
        return
    at, starts = len(MAGIC), seeds(number)
    while at + FRAME.size <= len(image):
        length, checksum, mark = FRAME.unpack_from(image, at)
        at += FRAME.size
        payload = image[at : at + length]
        # The checksum starts from the segment's number: what an earlier use of these pages left never fits.
        if not length or len(payload) < length or mark not in starts or zlib.crc32(payload, starts[mark]) != checksum:
            return
        yield Record(Mark(mark), payload)
        at += length


def beyond(image: bytes, number: int, start: int) -> Iterator[tuple[int, Record]]:
    """Whole records behind the first that is not, each with its place. A clean end has none behind it: a checksum that
    starts from this segment's number fits nothing else.
    """
    starts, at = seeds(number), start
    for zeros in _ZEROS.finditer(image, start):
        # A length's upper two bytes are zero and its lower two not both: a run of zeros begins one record at the most.
        for place in (zeros.start() - 2, zeros.start() - 1):
            if place >= at and _whole(image, place, starts):
                length, _, mark = FRAME.unpack_from(image, place)
                at = place + FRAME.size + length
                yield place, Record(Mark(mark), image[place + FRAME.size : at])
                break


def _whole(image: bytes, at: int, starts: dict[int, int]) -> bool:
    if at + FRAME.size > len(image):
        return False
    length, checksum, mark = FRAME.unpack_from(image, at)
    payload = image[at + FRAME.size : at + FRAME.size + length]
    return bool(length) and len(payload) == length and mark in starts and zlib.crc32(payload, starts[mark]) == checksum


def seeds(number: int) -> dict[int, int]:
    start = zlib.crc32(number.to_bytes(8, "little"))
    return {mark: zlib.crc32(bytes((mark,)), start) for mark in range(1, 64)}
