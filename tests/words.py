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
    protocols = found()[name].vocabulary.words.values()
    return HEAD + "".join(line for words in protocols for line in _lines(words))


def _lines(words: tuple[Word, ...]) -> list[str]:
    """Return the lines of a protocol's words; a phase stands where not all words are of it."""
    is_one = len({word.phases for word in words}) == 1
    return [f"| `{word.path}` | {word.type} | {_meaning(word, is_one)} |\n" for word in words]


def _meaning(word: Word, is_one: bool) -> str:
    if is_one or not word.phases:
        return word.doc
    return f"{word.doc} (phase {' or '.join(f'`{phase}`' for phase in word.phases)})"


def page_of(name: str) -> bytes:
    """Return the README with its table made anew; a README without one is our own mistake."""
    text = (DOMAINS / name / "README.md").read_text("utf-8")
    made, count = _TABLE.subn(lambda _: table_of(name), text)
    assert count == 1, f"{name}/README.md holds {count} tables that begin with `{HEAD[:25]}`"
    return made.encode()
