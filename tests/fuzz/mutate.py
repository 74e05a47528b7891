"""Small changes of bytes, as accidents and attackers make them; all drawn from one `Random`."""

import re
from collections.abc import Sequence
from random import Random

MOST = 2**20  # bytes of one file after its changes
TOKEN = re.compile(rb"[^\s,:\[\]{}()\"']+|\"[^\"]{0,80}\"")
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (
    *(b"", b"0", b"-1", b"1", b"7", b"999999999", b"99999999999999999999", b"1e999", b"NaN", b"Infinity", b"-0.12"),
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"[[[[[[[[",
        b"'",
        b'"',
        b"\\",
        b"\t",
        b"\t\t",
        b"\n",
        b"\r",
        b"  ",
        b"\0",
    ),
    *(b"../../evil", b"/etc/passwd", b"a/b", b"..", b"[red]", b"[/]", b"=1+1", b"<script>", b"\\input{x}", b"$(id)"),
    *(b"\xff", b"\xed\xa0\x80", b'"\\ud800"', b"\xe2\x80\xa8", b"\xc4\xb0", b"\x1b[31m", b"VBZ", b"VBP", b"correct"),
    *(b"|u1", b"<U0", b"<U1", b"|O", b">i8", b"<f8", b"True", b"(0,)", b"0x" + b"f" * 5000, b"x" * 3000, b"a " * 2000),
)


def _cut(data: bytes, random: Random, most: int = 200) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randint(1, most))


def flip(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A number of 1, 2, 4 or 8 bytes at its limits; half the time near the start, where headers are."""
    width = random.choice((1, 2, 4, 8))
    number = (random.choice(NUMBERS) % 256**width).to_bytes(width, random.choice(("little", "big")))
    start = random.randrange(min(len(data), 64) + 1) if random.random() < 0.5 else random.randrange(len(data) + 1)
    return data[:start] + number + data[start + width :]


def truncate(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def remove(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _cut(data, random)
    return data[:start] + data[end:]


def duplicate(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _cut(data, random)
    return data[:end] + data[start:end] * random.choice((1, 2, 50)) + data[end:]


def repeat(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return data * random.choice((2, 3, 20))


def splice(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A beginning of this one and an end of another."""
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def word(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A word or number of a text replaced by a nasty one, or by another of its own."""
    found = list(TOKEN.finditer(data, random.randrange(len(data) + 1)))[:400]
    if not found:
        return data + random.choice(WORDS)
    place = random.choice(found)
    new = random.choice(WORDS) if random.random() < 0.7 else random.choice(found)[0]
    return data[: place.start()] + new + data[place.end() :]


CHANGES = (flip, flip, overwrite, overwrite, truncate, remove, duplicate, repeat, splice, word, word, word)


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """`data` after 1 to 4 changes; `others` are what it may be spliced with."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(CHANGES)(data, others, random)[:MOST]
    return data
