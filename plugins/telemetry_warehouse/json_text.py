"""JSON text by position, for what has to keep bytes as they were written; a parser changes numbers, keys, escapes."""

import re
from collections.abc import Callable
from json import JSONDecodeError, JSONDecoder

_WHITESPACE = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Numbers stay text: an int has at most 4,300 digits in Python, a JSON number any number of them.
_DECODER = JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def scan(text: str, start: int) -> tuple[object, int]:
    """The value that begins at `start`, with its numbers as text, and where it ends.

    Raises ValueError where there is none, and RecursionError where it is nested deeper than some thousands.
    """
    return _DECODER.raw_decode(text, start)


def skip_whitespace(text: str, start: int) -> int:
    """Where the next character stands that is not whitespace."""
    return _WHITESPACE.match(text, start).end()


def walk_object(text: str, start: int, read: Callable[[str, int, int], int]) -> int:
    """Calls read(key, where the key starts, where its value starts) for each member of the object at `start`.

    `read` returns where the value ends, and this function where the object ends. A key that stands twice is read twice.
    Raises ValueError where the text is no JSON object.
    """
    position = skip_whitespace(text, _after(text, start, "{"))
    if text.startswith("}", position):
        return position + 1
    while True:
        key_start = position
        _expect(text, position, '"')
        key, position = scan(text, position)
        value_start = skip_whitespace(text, _after(text, skip_whitespace(text, position), ":"))
        position = skip_whitespace(text, read(key, key_start, value_start))
        if text.startswith("}", position):
            return position + 1
        position = skip_whitespace(text, _after(text, position, ","))


def _expect(text: str, position: int, character: str) -> None:
    if not text.startswith(character, position):
        raise JSONDecodeError(f"Expecting {character!r}", text, position)


def _after(text: str, position: int, character: str) -> int:
    _expect(text, position, character)
    return position + 1
