"""Tokens → the syntax tree: the grammar of CEL, by operator precedence.

Only brackets recurse, a few frames each, and their depth is bounded before parsing starts; chains
of operators, selections and conditionals are loops. `&&` and `||` are associative in value and in
error, so their chains become balanced trees: a condition of a thousand clauses is ten levels deep.
What is deeper than the bound all the same (`a + b + …`, `!!!…`) is refused before anybody recurses
over it.

A minus before a number belongs to it, as the specification's literals have it. Every node carries
the text that it was read from, brackets included: the operand of `(a.b).c` starts after its node
does, and so a qualified name is told from a selection on one in brackets.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

from typing import Final

from sidecar.policy.language import tree as cel
from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading import literals, macros
from sidecar.policy.language.reading.lexer import RESERVED, SyntaxProblem, Token, tokens, too_deep
from sidecar.policy.language.walk import children

_AND, _OR = 2, 1
# How tightly each binary operator binds, and the function that it is.
_BINARY: Final = {
    "||": (_OR, "_||_"),
    "&&": (_AND, "_&&_"),
    "==": (3, "_==_"),
    "!=": (3, "_!=_"),
    "<": (3, "_<_"),
    "<=": (3, "_<=_"),
    ">": (3, "_>_"),
    ">=": (3, "_>=_"),
    "in": (3, "@in"),
    "+": (4, "_+_"),
    "-": (4, "_-_"),
    "*": (5, "_*_"),
    "/": (5, "_/_"),
    "%": (5, "_%_"),
}
_SIGNS: Final = frozenset("!-")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_WORDS: Final = {"true": True, "false": False, "null": None}
_LIMITS: Final = Limits()

# A node with the offsets of its text, brackets included.
_Span = tuple[cel.Tree, int, int]


def parse(source: str, limits: Limits = _LIMITS, *, macros: bool = True) -> cel.Tree:
    """Return the tree of `source`.

    Args:
        source: CEL text.
        limits: Of its length and depth.
        macros: Whether macros are recognised; without, their names are ordinary functions.

    Raises:
        SyntaxProblem: With the offending span and what was expected.
    """
    found = tokens(source, limits)
    parser = _Parser(found, macros=macros)
    tree = parser.whole()
    # A tree is no deeper than it has tokens.
    if len(found) > limits.depth:
        _refuse_deep(tree, limits.depth)
    return tree


def _refuse_deep(tree: cel.Tree, depth_max: int) -> None:
    rest = [(tree, 1)]
    while rest:
        node, depth = rest.pop()
        if depth > depth_max:
            raise too_deep(depth_max, node.start, node.end)
        rest += [(child, depth + 1) for child in children(node)]


class _Parser:
    """The tokens of one expression and the place reached in them."""

    __slots__ = ("_at", "_kind", "_macros", "_tokens")

    def __init__(self, found: list[Token], *, macros: bool) -> None:
        self._tokens = found
        self._macros = macros
        self._at = 0
        self._kind = found[0].kind

    def whole(self) -> cel.Tree:
        """Return the tree of everything up to the end."""
        tree = self._expression()
        if self._kind != "end":
            raise self._expected("an operator or the end")
        return tree

    # Moving over the tokens.

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        self._kind = self._tokens[self._at].kind
        return token

    def _skip(self, kind: str) -> bool:
        if self._kind != kind:
            return False
        self._next()
        return True

    def _close(self, opening: Token, also: str = "") -> Token:
        closing = _CLOSING[opening.kind]
        if self._kind != closing:
            raise self._expected(f"{also}`{closing}`")
        # The last closing bracket stands before `end`, so there is a next token.
        return self._next()

    def _end(self) -> int:
        """Return where the token before this one ended."""
        return self._tokens[self._at - 1].end

    def _expected(self, what: str) -> SyntaxProblem:
        token = self._tokens[self._at]
        return SyntaxProblem(f"expected {what}, found {_shown(token)}", token.start, token.end)

    # Expressions, from the loosest operator to the tightest.

    def _expression(self) -> cel.Tree:
        """Return a conditional, or what stands in its place."""
        start = self._tokens[self._at].start
        tree = self._operators()
        if self._kind != "?":
            return tree
        choices: list[tuple[cel.Tree, cel.Tree, int]] = []
        while self._skip("?"):
            then = self._operators()
            if not self._skip(":"):
                raise self._expected("`:` and what holds otherwise")
            choices.append((tree, then, start))
            start = self._tokens[self._at].start
            tree = self._operators()
        end = self._end()
        for condition, then, began in reversed(choices):
            tree = cel.Call(began, end, "_?_:_", (condition, then, tree))
        return tree

    def _operators(self) -> cel.Tree:
        """Return a chain of binary operators, or the one operand."""
        start = self._tokens[self._at].start
        tree = self._unary() if self._kind in _SIGNS else self._member()
        if self._kind not in _BINARY:
            return tree
        operands = [(tree, start, self._end())]
        waiting: list[tuple[int, str]] = []
        terms: list[_Span] = []
        clauses: list[_Span] = []
        while self._kind in _BINARY:
            rank, function = _BINARY[self._next().kind]
            while waiting and waiting[-1][0] >= rank:
                _apply(operands, waiting.pop()[1])
            if rank > _AND:
                waiting.append((rank, function))
            else:
                terms.append(operands.pop())
            if rank == _OR:
                clauses.append(_balanced("_&&_", terms))
                terms = []
            start = self._tokens[self._at].start
            tree = self._unary() if self._kind in _SIGNS else self._member()
            operands.append((tree, start, self._end()))
        while waiting:
            _apply(operands, waiting.pop()[1])
        clauses.append(_balanced("_&&_", [*terms, operands.pop()]))
        return _balanced("_||_", clauses)[0]

    def _unary(self) -> cel.Tree:
        """Return a value behind its `!` or `-` signs, which do not mix."""
        kind = self._kind
        signs = [self._next().start]
        while self._kind == kind:
            signs.append(self._next().start)
        if kind == "-" and self._is_signed():
            tree = self._member(minus=signs.pop())
        elif self._kind == "-":
            signs, tree = self._negative_after_not(signs)
        else:
            tree = self._member()
        end = self._end()
        for start in reversed(signs):
            tree = cel.Call(start, end, f"{kind}_", (tree,))
        return tree

    def _negative_after_not(self, signs: list[int]) -> tuple[list[int], cel.Tree]:
        """Return `-1` of `!-1`: the grammar lets `!` stand before a literal, not before a `-`."""
        minus = self._next()
        if not self._is_signed():
            self._at -= 1
            raise self._expected("a value (in brackets, if it begins with `-`)")
        return signs, self._member(minus=minus.start)

    def _is_signed(self) -> bool:
        """Return whether a number stands here that a minus before it belongs to."""
        return self._kind == "number" and self._tokens[self._at].text[-1] not in "uU"

    def _member(self, minus: int | None = None) -> cel.Tree:
        """Return a value with the selections, calls and indexes that follow it.

        Args:
            minus: Where the minus stands that belongs to the number here.
        """
        start = self._tokens[self._at].start if minus is None else minus
        # INVARIANT: `is_path` holds while only plain selections were read: `a.b.C{…}` is a message.
        is_path = self._kind in {"name", "."}
        tree = self._name() if is_path else self._primary(minus)
        is_path = is_path and isinstance(tree, cel.Name)
        while True:
            if self._kind == ".":
                tree = self._dot(tree, start)
                is_path = is_path and isinstance(tree, cel.Select) and not tree.optional
            elif self._kind == "[":
                tree, is_path = self._index(tree, start), False
            elif self._kind == "{" and is_path:
                tree, is_path = self._message(tree, start), False
            else:
                return tree

    def _dot(self, operand: cel.Tree, start: int) -> cel.Tree:
        self._next()
        optional = self._skip("?")
        if self._kind not in {"name", "field"}:
            raise self._expected("a field's name")
        token = self._next()
        if self._kind == "(" and token.kind == "name" and not optional:
            args = self._arguments()
            end = self._end()
            call = cel.Call(start, end, token.text, args, operand)
            return macros.expanded(call, token.start) if self._macros else call
        field = token.text if token.kind == "name" else token.text[1:-1]
        return cel.Select(start, token.end, operand, field, optional)

    def _index(self, operand: cel.Tree, start: int) -> cel.Tree:
        opening = self._next()
        function = "_[?_]" if self._skip("?") else "_[_]"
        index = self._expression()
        end = self._close(opening).end
        return cel.Call(start, end, function, (operand, index))

    def _message(self, named: cel.Tree, start: int) -> cel.Tree:
        opening = self._next()
        fields: list[tuple[str, cel.Tree]] = []
        while self._more("}", first=not fields):
            self._skip("?")
            if self._kind not in {"name", "field"}:
                raise self._expected("a field's name or `}`")
            field = self._next().text.strip("`")
            if not self._skip(":"):
                raise self._expected("`:` and the field's value")
            fields.append((field, self._expression()))
        end = self._close(opening, "`,` or ").end
        return cel.MessageOf(start, end, _path(named), tuple(fields))

    # What stands alone.

    def _primary(self, minus: int | None) -> cel.Tree:
        kind = self._kind
        if kind == "(":
            opening = self._next()
            tree = self._expression()
            self._close(opening, "an operator or ")
            return tree
        if kind == "[":
            return self._list()
        if kind == "{":
            return self._map()
        return self._literal(minus)

    def _literal(self, minus: int | None) -> cel.Tree:
        token = self._tokens[self._at]
        kind, start, end = token.kind, token.start, token.end
        if kind in {"text", "raw"}:
            self._next()
            return cel.Constant(start, end, *literals.text(token))
        if kind == "number":
            self._next()
            start = start if minus is None else minus
            return cel.Constant(start, end, *literals.number(token, negative=minus is not None))
        if kind in _WORDS:
            self._next()
            return cel.Constant(start, end, "null" if kind == "null" else "bool", _WORDS[kind])
        raise self._expected("a value")

    def _name(self) -> cel.Tree:
        start = self._tokens[self._at].start
        rooted = self._skip(".")
        if self._kind != "name":
            raise self._expected("a name")
        token = self._next()
        if token.text in RESERVED:
            raise SyntaxProblem(f"`{token.text}` is a reserved word", token.start, token.end)
        if self._kind != "(":
            return cel.Name(start, token.end, token.text, rooted)
        args = self._arguments()
        function = f".{token.text}" if rooted else token.text
        call = cel.Call(start, self._end(), function, args)
        return macros.expanded(call, token.start) if self._macros else call

    def _arguments(self) -> tuple[cel.Tree, ...]:
        opening = self._next()
        if self._skip(")"):
            return ()
        args = [self._expression()]
        while self._skip(","):
            args.append(self._expression())
        self._close(opening, "`,` or ")
        return tuple(args)

    def _more(self, closing: str, *, first: bool) -> bool:
        """Return whether an element follows; the last one may have a comma, as may none at all."""
        if first and self._kind != ",":
            return self._kind != closing
        return self._skip(",") and not first and self._kind != closing

    def _list(self) -> cel.Tree:
        opening = self._next()
        items: list[cel.Tree] = []
        optional = set()
        while self._more("]", first=not items):
            if self._skip("?"):
                optional.add(len(items))
            items.append(self._expression())
        end = self._close(opening, "`,` or ").end
        return cel.ListOf(opening.start, end, tuple(items), frozenset(optional))

    def _map(self) -> cel.Tree:
        opening = self._next()
        entries: list[tuple[cel.Tree, cel.Tree]] = []
        optional = set()
        while self._more("}", first=not entries):
            if self._skip("?"):
                optional.add(len(entries))
            key = self._expression()
            if not self._skip(":"):
                raise self._expected("`:` and the key's value")
            entries.append((key, self._expression()))
        end = self._close(opening, "`,` or ").end
        return cel.MapOf(opening.start, end, tuple(entries), frozenset(optional))


def _apply(operands: list[_Span], function: str) -> None:
    right, _, end = operands.pop()
    left, start, _ = operands.pop()
    operands.append((cel.Call(start, end, function, (left, right)), start, end))


def _balanced(function: str, terms: list[_Span]) -> _Span:
    """Return the terms joined by `function`, as deep as the logarithm of their number."""
    while len(terms) > 1:
        pairs = [
            (cel.Call(one[1], two[2], function, (one[0], two[0])), one[1], two[2])
            for one, two in zip(terms[::2], terms[1::2], strict=False)
        ]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def _path(named: cel.Tree) -> str:
    """Return the dotted name that a chain of plain selections spells."""
    fields: list[str] = []
    while isinstance(named, cel.Select):
        fields.append(named.field)
        named = named.operand
    assert isinstance(named, cel.Name)
    return ("." if named.rooted else "") + ".".join([named.name, *reversed(fields)])


_SAID: Final = {"end": "the end", "text": "a string", "raw": "a string", "number": "a number"}


def _shown(token: Token) -> str:
    """Return a token as an error may quote it: a literal is named by its kind, never shown."""
    return _SAID.get(token.kind) or f"`{token.text.strip('`')}`"
