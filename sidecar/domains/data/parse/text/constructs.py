"""Writes the constructs that begin with a word and are more than that word (`canonical`)."""

from typing import Final

from sidecar.domains.data.parse.text.functions import OPERATORS
from sidecar.domains.data.parse.text.grammar import VALUES
from sidecar.domains.data.parse.text.lexer import Token
from sidecar.domains.data.parse.text.writer import Writer
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

MARK: Final = "\x1f"

# By which method each is written.
SPECIAL: Final = {
    "all": "_all", "array": "_array", "at": "_at_time_zone", "by": "_by", "collate": "_collate",
    "key": "_row_lock", "no": "_row_lock", "on": "_distinct_on",
    "only": "_only",
    "operator": "_operator_word", "overriding": "_overriding", "similar": "_similar",
    "some": "_all", "uescape": "_escape", "using": "_using", "variadic": "_variadic",
    **dict.fromkeys(VALUES, "_value"),
}  # fmt: skip


class Constructs(Writer):
    """Writes what begins with one of these words; each method returns whether it wrote something.

    Where it did not, the word is one of the grammar, or a name.
    """

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

    def _escape(self, before: Token, after: Token) -> bool:
        """Leave `UESCAPE '!'` behind a string; what it is in a name's escapes is not known here."""
        if before.kind != "string" or after.kind != "string":
            return False
        self._put("", operand=True, taken=2)
        return True

    def _value(self, _before: Token, after: Token) -> bool:
        name = self._peek(0).text
        self._put(quoted(MARK + name) + " ( )", operand=True)
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
            raise unread("an operator of another schema")
        if operator.text not in OPERATORS:
            raise unread("an operator that is not built in")
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
        self._put(quoted(MARK + "array"), operand=False)
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


def quoted(name: str) -> str:
    """Return a name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def unread(text: str) -> ParseError:
    """Return the refusal of what is not read."""
    return ParseError(reason("parse.unsupported"), f"{text} is not read")
