"""Random expressions, mostly well typed, and inputs for them; the seed says everything."""

from collections.abc import Callable
from random import Random
from typing import Any

# What every expression may read, under the one name `d`. Each input gives it another shape.
INPUTS: list[dict[str, Any]] = [
    {
        "i": 3, "j": -7, "f": 2.5, "s": "ab", "t": "b.c", "b": True, "n": None,
        "l": [1, 2, 3], "w": ["a", "ab", "é"], "m": {"a": 1, "b": "x"}, "o": {"p": {"q": [1]}},
        "x": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
    },
    {
        "i": 2**53 + 1, "j": 0, "f": float(2**53), "s": "", "t": "😀é", "b": False, "n": None,
        "l": [], "w": [], "m": {}, "o": {}, "x": [],
    },
    {
        "i": 2**63 - 1, "j": -(2**63), "f": -0.0, "s": "a/b", "t": "AB", "b": True, "n": 1,
        "l": [1, "a", None, 2.0, True], "w": ["a", 1], "m": {"a": None, "": 2}, "o": {"p": [1]},
        "x": [{"k": 1}, "z", {"k": "a", "v": "a"}],
    },
    {"i": "3", "j": 1.0, "f": 1, "s": 5, "t": ["a"],
     "b": "true", "l": "abc", "w": {"a": 1}, "m": [1]},
]  # fmt: skip

_INTS = (
    *("0", "1", "2", "-1", "3") * 4,
    "9223372036854775807",
    "-9223372036854775808",
    "9007199254740993",
)
_DOUBLES = ("0.0", "1.0", "2.5", "-1.5", "9007199254740992.0", "1e300", "-0.0")
_STRINGS = ("''", "'a'", "'ab'", "'é'", "'b.c'", "'😀'", "'1'", "'true'")


class Maker:
    """Makes expressions of a wanted type, and now and then of another."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._locals: list[str] = []
        self._makers: dict[str, Callable[[int], str]] = {
            "bool": self._bool,
            "int": self._int,
            "double": self._double,
            "string": self._string,
            "list": self._list,
            "map": self._map,
            "any": self._any,
        }

    def make(self, kind: str, depth: int) -> str:
        """Return the text of an expression at most about `depth` levels deep."""
        if self._random.random() < 0.015:
            kind = self._random.choice(list(self._makers))
        text = self._makers[kind](depth)
        return f"({text})" if text.startswith(("-", "!")) else text

    def _one(self, *forms: str) -> str:
        return self._random.choice(forms)

    def _filled(self, depth: int, *forms: str) -> str:
        """Return one of `forms`, in which `«kind»` is replaced by expressions of that kind."""
        head, *rest = self._one(*forms).split("«")
        parts = (part.split("»", 1) for part in rest)
        return head + "".join(self.make(kind, depth - 1) + tail for kind, tail in parts)

    def _fold(self, depth: int, form: str) -> str:
        """Return a macro; inside of it one more name is known."""
        over, body = form.split("@")
        text = self._filled(depth, over)
        name = f"v{len(self._locals)}"
        self._locals.append(name)
        text += self._filled(depth, body).replace("#", name)
        self._locals.pop()
        return text

    def _leaf(self, *forms: str) -> str:
        if self._locals and self._random.random() < 0.5:
            return self._random.choice(self._locals)
        return self._one(*forms)

    def _any(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf(
                "d.n",
                "d.absent",
                "d.o.p",
                "d.i",
                "null",
                "d.m.b",
                "d",
                "d.x",
                "2u",
                "d.s",
                "d.f",
                "d.b",
                "d.m",
                "d.l",
                "1",
                "'a'",
            )
        return self._filled(
            depth, "«map».a", "«list»[«int»]", "«map»['b']", "(«bool» ? «any» : «any»)",
            "«list»[0].k",
            "«int»", "«string»", "«bool»", "«double»", "«list»", "«map»", "«int»", "«string»",
            "dyn(«any»)", "«map».?a.orValue(«any»)", "«map»[«string»]",
        )  # fmt: skip

    def _bool(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf(
                "true", "false", "d.b", "d.b", "d.b", "d.absent", "has(d.m.a)", "(d.n == null)"
            )
        if self._random.random() < 0.25:
            macro = self._one("exists", "all", "exists_one")
            return self._fold(depth, f"«list»@.{macro}(#, «bool»)")
        return self._filled(
            depth, "(«bool» && «bool»)", "(«bool» || «bool»)", "!(«bool»)", "(«int» == «int»)",
            "(«any» == «any»)", "(«string» == «string»)", "(«any» != «any»)", "(«int» < «int»)",
            "(«int» >= «double»)", "(«double» <= «any»)", "(«string» > «string»)",
            "(«string» in «list»)", "(«string» in «map»)", "(«any» in «list»)",
            "(«any» in ['a', 'ab'])", "«string».startsWith('a')", "«string».endsWith(«string»)",
            "«string».contains(«string»)", "«string».matches('^[a-b]+$')", "(«any» == 'a')",
            "(«any» == 1)", "(«any» == 0.0)", "(«any» != true)", "(«any» > 1)", "(1.5 < «any»)",
            "(«bool» ? «bool» : «bool»)", "has(«map».a)", "(size(«any») > 1)", "(«int» > 1)",
            "«map».?b.hasValue()", "(«list» == «list»)", "(«map» == «map»)", "('a' <= «any»)",
            "cel.bind(c, «any», c == 1 || «bool»)", "(«any» == false)",
            "«list».exists(e, e == 'a')",
        )  # fmt: skip

    def _int(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf("d.i", "d.j", "d.l[0]", "d.m.a", *_INTS)
        return self._filled(
            depth, "(«int» + «int»)", "(«int» - «int»)", "(«int» * «int»)", "(«int» / «int»)",
            "(«int» % «int»)", "-(«int»)", "size(«string»)", "«list».size()", "int(«double»)",
            "int(«string»)", "(«bool» ? «int» : «int»)", "«string».indexOf('a')", "«list»[0]",
            "math.greatest(«int», «int»)", "d.x[1].v", "d.x.filter(e, e.k == «string»).size()",
            "«map».?a.orValue(«int»)", "cel.bind(c, «int», c + c)",
        )  # fmt: skip

    def _double(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf("d.f", *_DOUBLES)
        return self._filled(
            depth, "(«double» + «double»)", "(«double» * «double»)", "(«double» / «double»)",
            "double(«int»)", "-(«double»)", "(«bool» ? «double» : «double»)",
        )  # fmt: skip

    def _string(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf("d.s", "d.t", "d.w[0]", *_STRINGS)
        return self._filled(
            depth, "(«string» + «string»)", "«string».lowerAscii()", "string(«int»)",
            "«string».substring(«int»)", "(«bool» ? «string» : «string»)", "«list»[1]",
            "«string».replace('a', 'b')", "string(«bool»)", "«string».charAt(«int»)", "«map».b",
        )  # fmt: skip

    def _list(self, depth: int) -> str:
        if depth <= 0:
            return self._one("d.l", "d.w", "d.x", "[]", "[1, 2]", "['a', d.s]", "d.o.p.q")
        if self._random.random() < 0.5:
            forms = (".filter(#, «bool»)", ".map(#, «any»)", ".map(#, «bool», «any»)")
            return self._fold(depth, f"«list»@{self._one(*forms)}")
        return self._filled(
            depth, "[«any», «any»]", "(«list» + «list»)", "[«string»]",
            "(«bool» ? «list» : «list»)",
            "«list».transformList(i, e, i)", "«string».split('b')", "[?«map».?a, «int»]",
        )  # fmt: skip

    def _map(self, depth: int) -> str:
        if depth <= 0:
            return self._leaf("d.m", "d.o", "d.x[0]", "{}", "{'a': 1}", "d")
        return self._filled(
            depth, "{'a': «any», 'b': «string»}", "«map».p", "«list»[0]", "{«string»: «any»}",
            "(«bool» ? «map» : «map»)", "«map».transformMap(k, e, «any»)",
        )  # fmt: skip
