r"""Texts as JSON in ASCII that YAML and CEL read alike.

JSON writes what is beyond the first plane as two surrogates, which are nothing to YAML and CEL:
both have `\U` for it.
"""

import json
import re
from typing import Final

from sidecar.terms.call import Json

_BEYOND: Final = re.compile(r"[^\n -~]")
_FOUR_DIGITS_MAX: Final = 0xFFFF


def in_ascii(value: Json, indent: int | None = None) -> str:
    """Return `value` as JSON, escaped so that what it holds can end no text."""
    return _BEYOND.sub(_escaped, json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code <= _FOUR_DIGITS_MAX else f"\\U{code:08x}"
