"""Numbers that JSON can write and BigQuery cannot keep: found in the text, because a parser has rounded them already.

Integers are exact in 64 bits, everything else is a double. A number is kept if its double, printed as short as possible
or with as many digits as were written, is that number again, whatever program wrote it: `0.1`, `0.10000000000000001`
and 2**70 pass, `9223372036854775809.5` and `1e-400` do not.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal

import orjson

# A double keeps any 15 digits, so only longer ones are looked at; digits and points are made alike to find them with
# searches that run at memory speed. The others are exponents below -99, where doubles end.
_ALIKE = bytes.maketrans(b"123456789.", b"0" * 10)
_SUSPICIOUS = (b"0" * 16, b"0e-000", b"0E-000")
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_BEFORE_A_NUMBER = tuple(bytes([c]) for c in b":,[ \t\r\n")


def check_numbers(text: bytes, document: dict) -> tuple[bool, str | None]:
    """Looks at the numbers of a JSON text and of what was parsed from it.

    Returns whether all its integers are within ±(2**53 - 1), and the first number that would not be kept as it is
    written, or None.
    """
    try:
        written = orjson.dumps(document, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError:
        return False, _inexact_number(text)
    # Most clients write JSON as compactly as orjson does: then the same bytes prove that nothing was rounded.
    return True, None if written == text else _inexact_number(text)


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
        if text.startswith(b"-", position - 1):
            position -= 1
        number = _NUMBER.match(text, position)[0]
        if text.startswith(_BEFORE_A_NUMBER, position - 1):
            yield number
        position = alike.find(pattern, position + len(number))


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
    if number.lstrip("-").isdigit() and -(2**63) <= int(number) < 2**64:
        return True
    written = Decimal(number)
    digits = len(written.as_tuple().digits)
    return Decimal(repr(double)) == written or Decimal(f"{double:.{digits - 1}e}") == written
