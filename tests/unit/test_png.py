"""PNG files of `tools.png`: the pixels that were given, in the chunks that the format asks for."""

import struct
import zlib

import pytest

from tools import png

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_picture_has_its_size_and_pixels_in_checked_chunks() -> None:
    made = png.encode(2, 1, bytes((*RED, 255, *BLUE, 255)))
    assert made.startswith(b"\x89PNG\r\n\x1a\n")
    chunks = {}
    rest = made[8:]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, data, checksum = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", checksum) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        rest = rest[12 + length :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (2, 1, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == bytes((0, *RED, *BLUE))


def test_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="no picture of 2 x 2"):
        png.encode(2, 2, bytes(4))
