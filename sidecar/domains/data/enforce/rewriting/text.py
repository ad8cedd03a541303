"""A statement's text with PostgreSQL's tree of it, and edits that leave all else byte for byte.

Statements are not written out from a tree: what a generator forgets or changes nobody would see.
Pieces are put in at the places that PostgreSQL's grammar names, on the boundaries of the tokens
that our scanner cut; a place that is not such a boundary refuses the call.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from sidecar.domains.data.enforce.rewriting.references import nodes
from sidecar.domains.data.parse.second import look
from sidecar.domains.data.parse.text.casts import closers
from sidecar.domains.data.parse.text.lexer import Token, spans, tokens
from sidecar.terms.call import Json
from sidecar.terms.errors import EnforceError
from sidecar.terms.reasons import reason

_NONE: Final = Token("none", "")


class Edit(NamedTuple):
    """Replace a part of the text: in what is sent, and in what is proven (see `proof`)."""

    start: int
    end: int
    sent: str
    proven: str


class Text:
    """One statement: its tokens with their places, and PostgreSQL's tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.spans = spans(text)
        self.closing = closers(self.tokens)
        self.tree: dict[str, Json] = look(text).tree
        self._index = {start: at for at, start in enumerate(_byte_starts(text, self.spans))}

    @property
    def root(self) -> tuple[str, dict[str, Json]]:
        """Return the kind of the statement's node, and the node."""
        kind, node = next(iter(self.tree["stmts"][0]["stmt"].items()))
        return kind, node

    @property
    def end(self) -> int:
        """Return the index behind the last token of the statement; a semicolon is not of it."""
        last = len(self.tokens)
        while last and self.tokens[last - 1] == ("punct", ";"):
            last -= 1
        return last

    def at(self, node: dict[str, Json]) -> int:
        """Return the index of the token at a node's location.

        Raises:
            EnforceError: No token begins there.
        """
        index = self._index.get(node.get("location", 0))
        if index is None:
            raise unsupported("a place in the statement that is not found again")
        return index

    def token(self, index: int) -> Token:
        """Return a token, one of no kind beyond the ends."""
        return self.tokens[index] if 0 <= index < len(self.tokens) else _NONE

    def is_word(self, index: int, *words: str) -> bool:
        """Return whether one of `words` stands there, unquoted and as no part of a longer name."""
        return (
            self.token(index).kind == "word"
            and self.tokens[index].text in words
            and self.token(index - 1) != ("punct", ".")
        )

    def find(self, start: int, end: int, words: Iterable[str]) -> int:
        """Return the index of the first of reserved `words` outside of brackets, else `end`.

        Only what may not stand for a name at that place may be looked for.
        """
        wanted = tuple(words)
        at = start
        while at < end:
            if self.token(at) in (("punct", ")"), ("punct", ";")):
                return at
            is_label = self.is_word(at - 1, "as")
            if self.is_word(at, *wanted) and not is_label:
                return at
            at = self.closing.get(at, at) + 1
        return end

    def first(self, node: Json) -> int:
        """Return the index of the first token that an expression's tree names.

        Raises:
            EnforceError: It names none.
        """
        places = [node["location"] for node in nodes(node) if node.get("location", -1) >= 0]
        if not places:
            raise unsupported("a value that is not found again")
        return self.at({"location": min(places)})

    def behind(self, index: int) -> int:
        """Return the index behind a token, and behind all of a bracket or CASE that it opens."""
        if not self.is_word(index, "case"):
            return self.closing.get(index, index) + 1
        at = index + 1
        while at < self.end and not self.is_word(at, "end"):
            at = self.behind(at)
        return at + 1

    def start_of(self, index: int) -> int:
        """Return where a token begins; behind the last one for the index after it."""
        return self.spans[index][0] if index < len(self.spans) else len(self.text)

    def end_of(self, index: int) -> int:
        """Return where a token ends."""
        return self.spans[index][1]


def _byte_starts(text: str, places: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield where each token begins in UTF-8, as PostgreSQL's tree counts."""
    before = at = 0
    for start, _ in places:
        at += len(text[before:start].encode())
        before = start
        yield at


def applied(text: str, edits: Iterable[Edit]) -> tuple[str, str]:
    """Return the text to send and the text to prove.

    Raises:
        EnforceError: Two edits are of one part of the text.
    """
    sent: list[str] = []
    proven: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda one: (one.start, one.end)):
        if edit.start < at:
            raise unsupported("two changes of one part of the statement")
        between = text[at : edit.start]
        sent += (between, edit.sent)
        proven += (between, edit.proven)
        at = edit.end
    return "".join((*sent, text[at:])), "".join((*proven, text[at:]))


def put(at: int, piece: str) -> Edit:
    """Return the edit that puts a piece into what is sent."""
    return Edit(at, at, piece, "")


def quoted(*names: str) -> str:
    """Return `"a"."b"`."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def select(shown: str, source: str, *rest: str) -> str:
    """Return a query in brackets; the parts are names that were quoted and SQL that was read."""
    words = ("(SELECT", shown, *(("FROM", source) if source else ()), *rest)
    return " ".join(words) + ")"


def unsupported(text: str) -> EnforceError:
    """Return the refusal of what is not carried out, without anything of the statement."""
    return EnforceError(reason("obligation.unsupported"), text)
