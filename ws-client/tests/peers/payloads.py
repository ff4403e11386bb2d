# Which payloads do the Python peers send, and are the echoes correct?

import random

PHRASE = "Grüße aus 東京 🦀, and so on. ".encode()

# Repeated blocks: one for each deflate window that is just too small for it.
BLOCKS = [200, 300, 600, 1200, 2500, 5000, 10000, 20000]


def text(size):
    """Text of this many bytes of UTF-8."""
    whole = PHRASE * (size // len(PHRASE))
    return whole.decode() + "." * (size - len(whole))


def binary(size):
    """Bytes that compress by half, in a window of 15 bits."""
    unit = b"".join(2 * random.randbytes(block) for block in BLOCKS)
    return (unit * (size // len(unit) + 1))[:size]


def pieces(payload):
    """The payload in five pieces, some of them empty, cut without regard to characters."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload)
    cuts = sorted([0, min(1, size), size // 3, size // 3, size // 2, size])
    return [payload[start:end] for start, end in zip(cuts, cuts[1:])]


def same(expected, actual):
    if expected != actual:
        raise AssertionError(f"expected {brief(expected)}, got {brief(actual)}")


def brief(value):
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}… ({len(value)} long)"
