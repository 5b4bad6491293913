"""PNG encoder for screenshots: its unfiltered rows make even areas smaller than a browser's encoder does."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 8 bits for each channel, red, green and blue; no interlacing.
_FORMAT = bytes((8, 2, 0, 0, 0))


def encode(width: int, height: int, rgba: bytes) -> bytes:
    """Return an opaque picture as PNG; `rgba` has four bytes for each pixel, row by row, and its alpha is dropped.

    Raises
    ------
    ValueError
        If `rgba` has not the length of such a picture.
    """
    if len(rgba) != width * height * 4:
        raise ValueError(f"{len(rgba)} bytes are no picture of {width} x {height} pixels")
    rgb = bytearray(width * height * 3)
    for channel in range(3):
        rgb[channel::3] = rgba[channel::4]
    row = width * 3
    # Each row begins with the number of its filter: 0, none.
    rows = b"".join(b"\0" + rgb[begin : begin + row] for begin in range(0, len(rgb), row))
    header = struct.pack(">II", width, height) + _FORMAT
    packed = zlib.compress(rows, 9)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
