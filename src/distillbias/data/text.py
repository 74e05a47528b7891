"""Names and words from outside, before they are shown."""


def printable(text: str) -> str:
    r"""`text` on one line, with what cannot be printed as its escape: a raw "\x1b[31m" would colour a terminal.

    Each run of white space is one space, none is at either end. Letters of any script stay; control characters,
    halves of characters and marks that turn the direction of writing become `\x..` or `\u....`.
    """
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)
