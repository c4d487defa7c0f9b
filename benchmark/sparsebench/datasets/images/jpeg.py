"""What a JPEG's header says: whether the file is one that needs nothing but decoding. Quicker than opening it."""

from __future__ import annotations

from PIL import Image

_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, with Huffman's code
_PLAIN = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xE2, 0xED, 0xFE})
"""Tables, restarts, JFIF, profiles, Photoshop's, comments; but not Exif or XMP (E1), nor Adobe's colours (EE)."""


def is_plain_jpeg(data: bytes) -> bool:
    """Say whether bytes are surely a JPEG of 8-bit grey or YCbCr pixels, upright and of a safe size.

    False means only that the header is one for somebody who reads all of it: metadata that may hold an orientation,
    Adobe's colours, another kind of frame, too many pixels, or no JPEG at all.
    """
    at, pixels, safe = 2, 0, Image.MAX_IMAGE_PIXELS
    if data[:2] != b"\xff\xd8":
        return False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == 0xDA:  # the pixels begin
            return pixels > 0 and (safe is None or pixels <= safe)
        if marker in _FRAMES:
            if pixels or length < 8 or at + 10 > len(data) or data[at + 4] != 8 or data[at + 9] not in (1, 3):
                return False
            pixels = (data[at + 5] << 8 | data[at + 6]) * (data[at + 7] << 8 | data[at + 8])
        elif marker not in _PLAIN:
            return False
        at += 2 + length
    return False
