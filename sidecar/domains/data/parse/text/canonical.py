r"""Writes a statement's tokens again so that no second reader can see another statement in them.

What PostgreSQL's scanner cut (`lexer`) is spelt for the grammar's parser (sqlglot) in a small
language that both read alike:

- every name is quoted, so no word is a keyword to one reader and a name to the other; only the
  words of the SELECT/INSERT/UPDATE/DELETE/MERGE grammar stand bare, each where it has them;
- every string is `'1'`: nobody needs what it holds, and nothing it holds can move a boundary;
- every call is marked, `"\x1flower"(…)`, so that it stays a call with all of its arguments;
- casts to built-in types, collations, literal subscripts, names of arguments and AT TIME ZONE are
  taken away: they read nothing beyond their operands. Other types and operators are refused.

A construct that is misjudged here ends as an unquoted name, an unmarked call or a syntax error, and
each of those is refused later: a mistake costs a denial, never a reading.
"""

from collections.abc import Callable
from typing import ClassVar, Final

from sidecar.domains.data.catalogue.owned import Castable
from sidecar.domains.data.parse.text.casts import Casts, without_casts
from sidecar.domains.data.parse.text.constructs import MARK, SPECIAL, Constructs, quoted, unread
from sidecar.domains.data.parse.text.functions import ALLOWED, OPERATORS
from sidecar.domains.data.parse.text.grammar import (
    BARE,
    CONTEXT,
    LABELLED,
    WORDY,
    is_word_of_grammar,
)  # fmt: skip
from sidecar.domains.data.parse.text.lexer import Token, marks_of
from sidecar.domains.data.parse.text.shapes import reshaped, worded
from sidecar.domains.data.parse.text.shapes.fields import (
    literal_subscript,
    may_have_fields,
    with_elements,
)
from sidecar.domains.data.parse.text.writer import (
    NO_TOKEN,
    OPERAND_WORDS,
    PLAIN_OPERATORS,
)  # fmt: skip
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# Words that a string may follow; after any other word it is a cast to a type of that name.
_BEFORE_STRING: Final = BARE | {
    "zone", "range", "both", "leading", "trailing", "placing", "to",
}  # fmt: skip
_FUNCTION_WORDS: Final = frozenset(("left", "right"))
_FRAMES: Final = frozenset(("rows", "range", "groups"))
_BOUND_KINDS: Final = ("number", "string", "param", "punct")
_PREFIX_OPERATORS: Final = frozenset((
    "+", "-", "~", "@", "@@", "|/", "||/", "!!", "@-@", "#", "?-", "?|",
))  # fmt: skip
_STEADY: Final = {
    **dict.fromkeys((",", ".", "("), False),
    ")": True,
    **{word: word in OPERAND_WORDS for word in BARE - SPECIAL.keys() - _FRAMES},
    "by": False,
    "on": False,
}
_WARY: Final = {
    "by": frozenset(("matched", "distinct", "all")),
    "on": frozenset(("distinct",)),
    ")": frozenset(),
    **dict.fromkeys(_FUNCTION_WORDS, frozenset(("(",))),
}
_TELLING: Final = BARE | CONTEXT.keys() | SPECIAL.keys() | _FRAMES
_WITH_WORDS: Final = WORDY.keys() | LABELLED | worded.WORDED | worded.BEGUN
_CALLED: Final = {name: f'"{MARK}{name}"' for name in ALLOWED - _WITH_WORDS - _TELLING}


def canonical(statement: list[Token], types: Castable | None = None) -> tuple[str, Casts]:
    """Return the statement as text for the grammar's parser, and which casts there were.

    Of somebody's own types `types` may be cast to.

    Raises:
        ParseError: `parse.unsupported` for types, operators and forms that are not read.
    """
    marks = marks_of(statement)
    shaped = reshaped(statement, marks, types)
    has_fields = may_have_fields(shaped, marks)
    plain, casts = without_casts(shaped, types, marks, has_fields=has_fields)
    writer = _Writer(with_elements(plain) if has_fields else plain)
    writer.keeps_subscripts = has_fields and plain[0].text != "insert"
    return writer.text(), casts


class _Writer(Constructs):
    """Writes each token by its kind, and words of the grammar by what they begin."""

    steady = _STEADY
    wary = _WARY
    called = _CALLED
    telling = _TELLING
    keeps_subscripts = False

    # One method a kind of token.

    def _number(self, text: str) -> None:
        self._put(text, operand=True)

    def _param(self, text: str) -> None:
        self._put(text, operand=True)

    def _string(self, _text: str) -> None:
        before = self._peek(-1)
        if before.kind == "string":
            # The lexer has seen that they are one, over several lines.
            self._at += 1
            return
        if self._peek(-6) == ("word", "operator") and self._peek(-2).kind == "op":
            # `OPERATOR(pg_catalog.~) '…'`, which has been written as an operator.
            self._put("'1'", operand=True)
            return
        is_behind = self._operand and before.text in (")", "]")
        if is_behind or before.kind in ("quoted", "number", "param"):
            raise unread("a string behind a name or a bracket, which is a cast")
        is_free = self._at == self._free or before.text in _BEFORE_STRING
        if before.kind == "word" and not is_free:
            raise unread("a string behind a word that is not a built-in type")
        self._put("'1'", operand=True)

    def _quoted(self, text: str) -> None:
        self._name(text)

    def _word(self, text: str) -> None:
        before, after = self._peek(-1), self._peek()
        is_label = before == ("punct", ".") or (
            before == ("word", "as") and after.text not in ("(", "materialized")
        )
        if is_label or not self._construct(text, before, after):
            self._name(text)

    def _punct(self, text: str) -> None:
        if text == "[":
            self._subscript()
        elif text in (")", "]"):
            is_operand = self._at not in self._beginning
            self._put(self._closing.pop(self._at, text), operand=is_operand)
        elif text == ":" and self._parts_pair():
            self._put(",", operand=False)
        elif text in (":", ":="):
            raise unread(f"`{text}` in this place")
        else:
            self._put(text, operand=False)

    def _op(self, text: str) -> None:
        if text == "*" and (not self._operand or self._peek(-1) == ("punct", ".")):
            self._put("*", operand=True)
            return
        if text not in OPERATORS:
            raise unread("an operator that is not built in")
        if self._operand:
            self._put(
                "<>" if text == "!=" else text if text in PLAIN_OPERATORS else "||", operand=False
            )
        elif text in _PREFIX_OPERATORS:
            self._put("-", operand=False)
        else:
            raise ParseError(reason("parse.syntax"), "an operator without its left side")

    readers: ClassVar[dict[str, Callable[["_Writer", str], None]]] = {
        "number": _number, "param": _param, "string": _string, "quoted": _quoted, "word": _word,
        "punct": _punct, "op": _op,
    }  # fmt: skip

    # Words of the grammar.

    def _construct(self, text: str, before: Token, after: Token) -> bool:
        """Write `text` as a word of the grammar; False when it is a name here."""
        if self._inside and self._inner_word(text):
            return True
        if text in SPECIAL and getattr(self, SPECIAL[text])(before, after):
            return True
        if text in _FRAMES and self._operand and after.kind in _BOUND_KINDS:
            self._put(text, operand=False)
            # A bound may be a string whose cast has been taken away.
            self._free = self._at
            return True
        if text in _FUNCTION_WORDS and after == ("punct", "("):
            return False
        if is_word_of_grammar(text, before, after):
            self._put(text, operand=text in OPERAND_WORDS)
            return True
        return False

    def _inner_word(self, text: str) -> bool:
        closer, words, construct = self._inside[-1]
        if self._enclosing[self._at] != closer:
            return False
        if construct in worded.WORDED:
            written = worded.inner(
                construct, self._tokens, self._at, self._closer, operand=self._operand
            )
            if written is not None:
                self._put(written.text, operand=written.is_operand, taken=written.taken)
                self._free = self._at
            return written is not None
        if text == "as" and construct in LABELLED:
            self._put("", operand=True, taken=2)
            return True
        if text not in words:
            return False
        replacement = words[text]
        if self._peek(-1) == ("punct", "(") or self._out[-1] == "(":
            replacement = ""
        self._put(replacement, operand=False)
        return True

    def _name(self, text: str) -> None:
        """Write a name; before a bracket it is a call unless the grammar lists columns there."""
        after = self._peek()
        if after.kind == "op" and after.text == "=>":
            # A named argument: the value alone is read.
            self._put("", operand=False, taken=2)
            return
        if after == ("punct", ":="):
            self._put("", operand=False, taken=2)
            return
        if after != ("punct", "(") or self._lists_columns():
            self._put(quoted(text), operand=True)
            return
        self._call(text)

    def _call(self, text: str) -> None:
        self._put(quoted(MARK + text), operand=True)
        if self._peek(-1).kind == "word" and self._peek(-2) != ("punct", "."):
            self._open_construct(text)

    def _open_construct(self, text: str) -> None:
        """Begin a construct that has words inside; a quoted or qualified name is a plain call."""
        words = WORDY.get(text, {})
        if words or text in LABELLED or text in worded.WORDED:
            self._inside.append((self._closer[self._at], words, text))
        if text == "extract" and self._peek(2) == ("word", "from"):
            # The field is no column.
            self._put("( '1'", operand=True, taken=2)
        elif worded.holds_query(text, self._tokens, self._at, self._closer):
            self._closing[self._closer[self._at]] = ") )"
            self._inside[-1] = (self._closer[self._at], {}, worded.OF_QUERY)
            self._put("( (", operand=False)
        elif begun := worded.head(text, self._tokens, self._at):
            self._put(begun.text, operand=begun.is_operand, taken=begun.taken)
            self._free = self._at

    def _lists_columns(self) -> bool:
        """Return whether the bracket behind this name lists columns: `AS t(a)`, `INTO t(a)`."""
        start = self._at
        while start >= 2 and self._tokens[start - 1] == ("punct", "."):
            start -= 2
        before = self._tokens[start - 1] if start else NO_TOKEN
        if before.kind == "word" and before.text in ("as", "with", "recursive", "into"):
            return True
        if before == ("punct", ","):
            behind = self._closer[self._at + 1] + 1
            tail = [token.text for token in self._tokens[behind : behind + 2]]
            return tail[:1] == ["as"] and tail[1:] in (["("], ["materialized"], ["not"])
        return self._operand and start == self._at

    # Brackets that are not calls.

    def _subscript(self) -> None:
        """Write `a[i]` as `a ^ (i)`, as nothing else is, and `ARRAY[…]` and its rows as brackets.

        A subscript of literals is left out: it reads nothing, and may be assigned to.
        """
        closer = self._closer[self._at]
        inside = self._tokens[self._at + 1 : closer]
        if not self._operand:
            self._closing[closer] = ")"
            self._put("(", operand=False)
        elif (plain := literal_subscript(inside, is_kept=self.keeps_subscripts)) is not None:
            self._put(plain, operand=True, taken=closer - self._at + 1)
        else:
            self._closing[closer] = ")"
            self._put("^ (", operand=False)

    def _parts_pair(self) -> bool:
        """Return whether this is the colon between a key and its value: `JSON_OBJECT('a': 1)`."""
        if not self._operand or not self._inside:
            return False
        closer, _, construct = self._inside[-1]
        return worded.has_pairs(construct) and self._enclosing[self._at] == closer
