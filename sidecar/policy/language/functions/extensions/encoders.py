"""The encoders extension: Base64, read strictly but for absent padding.

One text for one sequence of bytes: white space, the URL alphabet and bits left over are refused.

Source: RFC 4648, §3.5 and §4
"""

import base64
import binascii
import re
from typing import Final

from sidecar.policy.language.faults import BudgetExceeded, InvalidArgument, NoSuchOverload
from sidecar.policy.language.functions.signature import function
from sidecar.policy.language.values.limits import TEXT_CHARS_MAX

_BASE64: Final = re.compile(
    r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw](?:==)?|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=?)?"
)


def encode(value: object) -> str:
    """Return bytes in Base64, padded."""
    if type(value) is not bytes:
        raise NoSuchOverload
    if len(value) > TEXT_CHARS_MAX // 4 * 3:
        raise BudgetExceeded
    return base64.b64encode(value).decode()


def decode(text: object) -> bytes:
    """Return the bytes that a text in Base64 stands for."""
    if type(text) is not str:
        raise NoSuchOverload
    if not _BASE64.fullmatch(text):
        raise InvalidArgument
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        raise InvalidArgument from None


DECLARED: Final = (
    function("base64.encode", encode, "bytes -> string"),
    function("base64.decode", decode, "string -> bytes"),
)
