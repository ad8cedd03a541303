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

from collections.abc import Callable, Collection
from typing import ClassVar, Final

from sidecar.domains.data.parse.text.casts import without_casts
from sidecar.domains.data.parse.text.functions import OPERATORS
from sidecar.domains.data.parse.text.grammar import (
    BARE,
    CONTEXT,
    LABELLED,
    VALUES,
    WORDY,
    is_word_of_grammar,
)  # fmt: skip
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.domains.data.parse.text.shapes import reshaped, worded
from sidecar.domains.data.parse.text.writer import (
    NO_TOKEN,
    OPERAND_WORDS,
    PLAIN_OPERATORS,
    Writer,
)  # fmt: skip
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

MARK: Final = "\x1f"

# Words that a string may follow; after any other word it is a cast to a type of that name.
_BEFORE_STRING: Final = BARE | {
    "zone", "range", "both", "leading", "trailing", "placing", "to",
}  # fmt: skip
_LITERALS: Final = ("number", "param", "string")
_FUNCTION_WORDS: Final = frozenset(("left", "right"))
_FRAMES: Final = frozenset(("rows", "range", "groups"))
_BOUND_KINDS: Final = ("number", "string", "param", "punct")
_SPECIAL: Final = {
    "all": "_all", "array": "_array", "at": "_at_time_zone", "by": "_by", "collate": "_collate",
    "key": "_row_lock", "no": "_row_lock", "on": "_distinct_on",
    "only": "_only",
    "operator": "_operator_word", "overriding": "_overriding", "similar": "_similar",
    "some": "_all", "using": "_using", "variadic": "_variadic", **dict.fromkeys(VALUES, "_value"),
}  # fmt: skip
_PREFIX_OPERATORS: Final = frozenset((
    "+", "-", "~", "@", "@@", "|/", "||/", "!!", "@-@", "#", "?-", "?|",
))  # fmt: skip
_STEADY: Final = frozenset((
    *(Token("punct", text) for text in ",.()"),
    *(Token("word", word) for word in BARE - _SPECIAL.keys() - _FRAMES - _FUNCTION_WORDS),
))  # fmt: skip
_TELLING: Final = BARE | CONTEXT.keys() | _SPECIAL.keys() | _FRAMES


def canonical(
    statement: list[Token], types: Collection[tuple[str, str]] = ()
) -> tuple[str, frozenset[str]]:
    """Return the statement as text for the grammar's parser, and the system catalogues looked into.

    Of somebody's own types `types` may be cast to: (schema or empty, name).

    Raises:
        ParseError: `parse.unsupported` for types, operators and forms that are not read.
    """
    marks = {text for _, text in statement}
    plain, lookups = without_casts(reshaped(statement, marks), types, marks)
    return _Writer(plain).text(), lookups


class _Writer(Writer):
    """Writes each token by its kind, and words of the grammar by what they begin."""

    steady = _STEADY
    telling = _TELLING

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
            raise _unread("a string behind a name or a bracket, which is a cast")
        is_free = self._at == self._free or before.text in _BEFORE_STRING
        if before.kind == "word" and not is_free:
            raise _unread("a string behind a word that is not a built-in type")
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
            raise _unread(f"`{text}` in this place")
        else:
            self._put(text, operand=False)

    def _op(self, text: str) -> None:
        if text == "*" and (not self._operand or self._peek(-1) == ("punct", ".")):
            self._put("*", operand=True)
            return
        if text not in OPERATORS:
            raise _unread("an operator that is not built in")
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
        if text in _SPECIAL and getattr(self, _SPECIAL[text])(before, after):
            return True
        if text in _FRAMES and self._operand and after.kind in _BOUND_KINDS:
            self._put(text, operand=False)
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
            self._put(_quote(text), operand=True)
            return
        self._call(text)

    def _call(self, text: str) -> None:
        self._put(_quote(MARK + text), operand=True)
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
        elif all(token.kind in _LITERALS or token.text in (":", "-") for token in inside):
            self._put("", operand=True, taken=closer - self._at + 1)
        else:
            self._closing[closer] = ")"
            self._put("^ (", operand=False)

    # Constructs that begin with a word; each returns whether it wrote something.

    def _at_time_zone(self, _before: Token, after: Token) -> bool:
        if after == ("word", "local") and self._operand:
            self._put("|| '1'", operand=True, taken=2)
            return True
        if after != ("word", "time") or self._peek(2) != ("word", "zone") or not self._operand:
            return False
        self._put("||", operand=False, taken=3)
        return True

    def _collate(self, _before: Token, after: Token) -> bool:
        if after.kind not in ("word", "quoted"):
            return False
        self._put("", operand=True, taken=2)
        while self._peek(0) == ("punct", ".") and self._peek(1).kind in ("word", "quoted"):
            self._at += 2
        return True

    def _parts_pair(self) -> bool:
        """Return whether this is the colon between a key and its value: `JSON_OBJECT('a': 1)`."""
        if not self._operand or not self._inside:
            return False
        closer, _, construct = self._inside[-1]
        return worded.has_pairs(construct) and self._enclosing[self._at] == closer

    def _value(self, _before: Token, after: Token) -> bool:
        name = self._peek(0).text
        self._put(_quote(MARK + name) + " ( )", operand=True)
        if after == ("punct", "(") and self._peek(1).kind == "number":
            self._at = self._closer[self._at] + 1
        elif name == "current_schema" and after == ("punct", "(") and self._peek(1).text == ")":
            # The only one of them that may be called with brackets too.
            self._at += 2
        return True

    def _operator_word(self, _before: Token, after: Token) -> bool:
        names = [self._peek(i) for i in range(1, 6)]
        if after != ("punct", "("):
            return False
        qualified = names[1] == ("word", "pg_catalog") and names[2] == ("punct", ".")
        operator = names[3]
        if not qualified or operator.kind != "op" or names[4] != ("punct", ")"):
            raise _unread("an operator of another schema")
        if operator.text not in OPERATORS:
            raise _unread("an operator that is not built in")
        self._put("||" if self._operand else "-", operand=False, taken=6)
        return True

    def _similar(self, _before: Token, after: Token) -> bool:
        if after != ("word", "to"):
            return False
        self._put("like", operand=False, taken=2)
        return True

    def _array(self, _before: Token, after: Token) -> bool:
        if after != ("punct", "["):
            return False
        self._put(_quote(MARK + "array"), operand=False)
        self._closing[self._closer[self._at]] = ")"
        self._put("(", operand=False)
        return True

    def _using(self, _before: Token, after: Token) -> bool:
        if after.kind != "op" or after.text not in OPERATORS:
            return False
        self._put("asc", operand=False, taken=2)
        return True

    def _only(self, _before: Token, after: Token) -> bool:
        if after != ("punct", "("):
            return False
        # `ONLY (t)` is `ONLY t`.
        self._closing[self._closer[self._at + 1]] = ""
        self._put("only", operand=False, taken=2)
        return True

    def _distinct_on(self, before: Token, after: Token) -> bool:
        """Note that behind the bracket of DISTINCT ON an expression begins."""
        is_list = before == ("word", "distinct") and self._peek(-2) != ("punct", ".")
        if is_list and after == ("punct", "("):
            closer = self._closer[self._at + 1]
            self._closing[closer] = ")"
            self._beginning.add(closer)
        return False

    def _overriding(self, _before: Token, after: Token) -> bool:
        if after.text not in ("user", "system") or self._peek(2) != ("word", "value"):
            return False
        self._put("", operand=False, taken=3)
        return True

    def _variadic(self, before: Token, _after: Token) -> bool:
        if before.kind != "punct":
            return False
        self._put("", operand=False)
        return True

    def _row_lock(self, before: Token, after: Token) -> bool:
        """Write FOR NO KEY UPDATE and FOR KEY SHARE as the stronger lock of their kind."""
        if before != ("word", "for") or after.text not in ("key", "share"):
            return False
        self._put("", operand=False, taken=2 if after.text == "key" else 1)
        return True

    def _all(self, before: Token, after: Token) -> bool:
        """Write `= ALL (…)` as `= ANY (…)`, which reads the same."""
        if before.kind != "op" or after != ("punct", "("):
            return False
        self._put("any", operand=False)
        return True

    def _by(self, before: Token, after: Token) -> bool:
        if before == ("word", "matched") and after.text in ("source", "target"):
            # By target is what MERGE's plain NOT MATCHED means.
            self._put("by source" if after.text == "source" else "", operand=False, taken=2)
            return True
        if before != ("word", "group") or after.text not in ("distinct", "all"):
            return False
        self._put("by", operand=False, taken=2)
        return True


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unread(text: str) -> ParseError:
    return ParseError(reason("parse.unsupported"), f"{text} is not read")
