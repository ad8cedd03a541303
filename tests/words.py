"""The table of words in a domain's README: made from its vocabulary, so that neither can lie."""

import re
from pathlib import Path

from sidecar.domains import found
from sidecar.terms.domain import Word

DOMAINS = Path(__file__).parents[1] / "sidecar" / "domains"
HEAD = "| path | type | meaning |\n|---|---|---|\n"
_TABLE = re.compile(rf"^{re.escape(HEAD)}(?:\|.*\n)*", re.MULTILINE)


def words_of(name: str) -> list[Word]:
    """Return every word of a domain, protocol by protocol as the vocabulary has them."""
    return [word for words in found()[name].vocabulary.words.values() for word in words]


def table_of(name: str) -> str:
    """Return the table as it stands in the README."""
    lines = (f"| `{word.path}` | {word.type} | {word.doc} |\n" for word in words_of(name))
    return HEAD + "".join(lines)


def page_of(name: str) -> bytes:
    """Return the README with its table made anew; a README without one is our own mistake."""
    text = (DOMAINS / name / "README.md").read_text("utf-8")
    made, count = _TABLE.subn(lambda _: table_of(name), text)
    assert count == 1, f"{name}/README.md holds {count} tables that begin with `{HEAD[:25]}`"
    return made.encode()
