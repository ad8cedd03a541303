"""Random expressions, mostly well typed, and inputs for them; the seed says everything.

What may be written is a table: of each kind the leaves and the forms, in which `«kind»` stands for
an expression of that kind, `#` for the name of a macro's variable and `##` for its second one.
"""

from random import Random
from typing import Any, NamedTuple

from tests.policy.language.expression_forms import FORMS, KINDS, LEAVES, OWN_FORMS, SCOPED

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
    {
        "i": 1, "j": -1, "f": 1e19, "s": "a\u0301é\u200b", "t": "日本\\'\"\n", "b": False, "n": [],
        "l": [[1], [], [1, [2]]], "w": ["", "a\tb", "A"], "m": {"a": {"a": {"a": 1}}, "é": 2},
        "o": {"p": None}, "x": [{}, {"k": None, "v": [1]}, {"k": "a", "v": {}}],
    },
]  # fmt: skip


# What JSON may hold anywhere, but for U+0000, where the binding of cel-cpp ends a text.
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, -0.0, 1e308, 3.0),
    *("", "a", "ab", "é", "true", "1", "\U0010ffff"),
    *([], [1], ["a"], [[1]], [{"k": "a"}], [None], [1, 1.0], ["a", "ab", 1]),
    *({}, {"a": 1}, {"b": "x"}, {"k": "a", "v": 1}, {"a": {"b": {"a": None}}}, {"p": {"q": []}}),
]


def drawn_input(random: Random) -> dict[str, Any]:
    """Return an input: as it is expected, gone wrong in one way, or with fields of any kind."""
    if random.random() < 0.7:
        # The first fits what expressions expect; the others are there to go wrong.
        return random.choices(INPUTS, (6, 1, 1, 1, 2))[0]
    kept = {key: value for key, value in INPUTS[0].items() if random.random() < 0.9}
    return {
        key: random.choice(_VALUES) if random.random() < 0.5 else value
        for key, value in kept.items()
    }


class Shape(NamedTuple):
    """What expressions of a run look like: how deep, and how often a wrong type stands somewhere.

    `own` are those with functions that nobody else has.
    """

    depth_max: int = 4
    careless: float = 0.015
    own: bool = False


class Maker:
    """Makes expressions of a wanted kind, and now and then of another."""

    def __init__(self, random: Random, shape: Shape = Shape()) -> None:  # noqa: B008 - immutable
        self._random = random
        self._shape = shape
        self._locals: list[str] = []
        own = OWN_FORMS if shape.own else {}
        # What is their own is what such a run is for, so it stands there three times.
        self._forms = {kind: (*FORMS[kind], *own.get(kind, ()) * 3) for kind in KINDS}

    def any(self) -> str:
        """Return an expression as most runs want them: conditions, now and then something else."""
        kind = self._random.choice(["bool", "bool", "any", "list", self._random.choice(KINDS)])
        text = self.make(kind, self._random.randint(1, self._shape.depth_max))
        # An optional is opened: not every engine beside ours can hand one out.
        return f"({text}).optMap(z, [z]).orValue([])" if kind == "optional" else text

    def make(self, kind: str, depth: int) -> str:
        """Return the text of an expression at most about `depth` levels deep."""
        if self._random.random() < self._shape.careless:
            kind = self._random.choice(KINDS)
        text = self._leaf(kind) if depth <= 0 else self._form(kind, depth)
        return f"({text})" if text.startswith(("-", "!")) else text

    def _leaf(self, kind: str) -> str:
        if self._locals and self._random.random() < 0.4:
            return self._random.choice(self._locals)
        return self._random.choice(LEAVES[kind])

    def _form(self, kind: str, depth: int) -> str:
        scoped = SCOPED.get(kind, ())
        if scoped and self._random.random() < 0.25:
            return self._scope(self._random.choice(scoped), depth)
        # A deep expression is deep in one place: elsewhere it would be as large as it is deep.
        form = self._random.choice(self._forms[kind])
        return self._filled(form, depth, spare=max(depth - 4, 0))

    def _filled(self, form: str, depth: int, spare: int = 0) -> str:
        head, *rest = form.split("«")
        parts = [part.split("»", 1) for part in rest]
        deepest = self._random.randrange(len(parts)) if parts else 0
        for at, (kind, tail) in enumerate(parts):
            cut = 0 if at == deepest else self._random.randint(0, spare)
            head += self.make(kind, depth - 1 - cut) + tail
        return head

    def _scope(self, form: str, depth: int) -> str:
        """Return a macro; behind its `@` one more name is known, or two."""
        over, body = form.split("@")
        text = self._filled(over, depth)
        # One macro in four hides the name of an outer one, or of the input.
        fresh = f"v{len(self._locals)}"
        name = self._random.choice([fresh, fresh, fresh, *(self._locals[-1:] or ["d"])])
        second = f"u{len(self._locals)}"
        names = [name, second] if "##" in body else [name]
        self._locals += names
        text += self._filled(body, depth)
        del self._locals[-len(names) :]
        return text.replace("##", second).replace("#", name)
