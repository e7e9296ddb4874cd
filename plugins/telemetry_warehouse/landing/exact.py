"""What JSON can write and a table cannot keep as it is: found in the text, because a parser has changed it already.

Integers are exact in 64 bits, everything else is a double. A number is kept if its double, printed as short as possible
or with as many digits as were written, is that number again, whatever program wrote it: `0.1`, `0.10000000000000001`
and 2**70 pass, `9223372036854775809.5` and `1e-400` do not. Nor does a key with two values in one object: a parser
keeps one and loses the other. (Firefox's crash pings have a key twice with the same value, which loses nothing.)
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import orjson

# A double keeps any 15 digits, so only longer ones are looked at; digits and points are made alike to find them with
# searches that run at memory speed. The others are exponents below -99, where doubles end.
_ALIKE = bytes.maketrans(b"123456789.", b"0" * 10)
_SUSPICIOUS = (b"0" * 16, b"0e-000", b"0E-000")
_LONGEST_INTEGER = len(str(-(2**63)))
_RUN = re.compile(rb"0+")
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_ESCAPED_COLONS = (b"\\u003a", b"\\u003A")
_BEFORE_A_NUMBER = tuple(bytes([c]) for c in b":,[ \t\r\n")


def check(text: bytes, document: dict) -> tuple[bool, str | None]:
    """Looks at a JSON text and at what was parsed from it.

    Returns whether all its integers are within ±(2**53 - 1), and what would not be kept as it is written, or None.
    """
    try:
        written = orjson.dumps(document, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError:
        written = None
    # Most clients write JSON as compactly as orjson does: then the same bytes prove that nothing was lost.
    if written == text:
        return True, None
    small = written is not None
    number = _inexact_number(text)
    if number is not None:
        return small, f"the number {number[:100]} cannot be kept exactly"
    key = _repeated_key(text, document, written)
    return small, None if key is None else f"the key {key[:100]!r} has two values in one object"


def _repeated_key(text: bytes, document: dict, written: bytes | None) -> str | None:
    """A member that was lost has taken its colon along; all other colons stand in the text as in what was parsed."""
    try:
        colons = (written or orjson.dumps(document)).count(b":")
    except orjson.JSONEncodeError:
        colons = -1
    if text.count(b":") == colons and not any(escaped in text for escaped in _ESCAPED_COLONS):
        return None
    found: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> dict:
        kept = dict(pairs)
        if len(kept) < len(pairs) and not found:
            times = Counter(key for key, _ in pairs)
            # As text, for 1 and true are equal in Python.
            repeated = (pair for pair in pairs if times[pair[0]] > 1)
            found.extend(key for key, value in repeated if json.dumps(value) != json.dumps(kept[key]))
        return kept

    json.loads(text, object_pairs_hook=members)
    return found[0] if found else None


def _inexact_number(text: bytes) -> str | None:
    alike = text.translate(_ALIKE)
    numbers = [n for pattern in _SUSPICIOUS if pattern in alike for n in _candidates(text, alike, pattern)]
    if _are_canonical(numbers) or all(_is_exact(number.decode()) for number in numbers):
        return None
    # It may be digits within a string; a full parse knows.
    return _first_inexact(text)


def _candidates(text: bytes, alike: bytes, pattern: bytes) -> Iterator[bytes]:
    """What looks like a number around each match and stands where JSON may have one."""
    position = alike.find(pattern)
    # The text is an object: something always stands before a number.
    while position > 0:
        while alike.startswith(b"0", position - 1):
            position -= 1
        end = _RUN.match(alike, position).end()
        if text.startswith(b"-", position - 1):
            position -= 1
        number = _NUMBER.match(text, position)
        # What begins with a point, as a row of them in a string does, is no number.
        if number is not None:
            end = number.end()
            if text.startswith(_BEFORE_A_NUMBER, position - 1):
                yield number[0]
        position = alike.find(pattern, end)


def _are_canonical(numbers: list[bytes]) -> bool:
    """Whether they are all written as orjson writes them: one comparison for what is nearly always so."""
    array = b"[" + b",".join(numbers) + b"]"
    try:
        return orjson.dumps(orjson.loads(array)) == array
    except orjson.JSONDecodeError:
        return False


def _first_inexact(text: bytes) -> str | None:
    found: list[str] = []

    def check(number: str) -> None:
        if not found and not _is_exact(number):
            found.append(number)

    json.loads(text, parse_int=check, parse_float=check)
    return found[0] if found else None


def _is_exact(number: str) -> bool:
    try:
        double = float(number)
    except ValueError:
        return False
    if repr(double) == number:
        return True
    if len(number) <= _LONGEST_INTEGER and number.lstrip("-").isdigit() and -(2**63) <= int(number) < 2**64:
        return True
    try:
        written = Decimal(number)
    except ArithmeticError:
        # An exponent beyond those that a Decimal has.
        return False
    digits = len(written.as_tuple().digits)
    return Decimal(repr(double)) == written or Decimal(f"{double:.{digits - 1}e}") == written
