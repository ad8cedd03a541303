"""What a prompt answers to a line: an expression's value, or what one of its commands says.

Nothing here reads a key or writes a line, so that a pipe, a terminal and a test have one session.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from sidecar.policy.bench import Bench
from sidecar.policy.language.brief import printable
from sidecar.policy.language.telling import lines
from sidecar.policy.language.values import typed
from sidecar.policy.trial import shown_typed, to_json
from sidecar.syntax import json
from sidecar.terms.call import Json
from sidecar.terms.errors import EnvelopeError, ParseError, SidecarError

HELP: Final = """\
EXPR                 its value
:explain EXPR        what made it so, clause by clause
:type EXPR           its type, and what the checker says
:cost EXPR           the steps that it may take, for lists of n
:set NAME VALUE      let NAME stand for VALUE: JSON, or an expression
:input FILE          let each name of a JSON object stand for its value
:names               what stands for what
:help                this
:quit                the end (also Ctrl-D)

An expression that is not finished goes on in the next line; an empty line ends it.
Tab completes names, fields, functions and macros."""


class Session:
    """One bench, and commands on it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def answer(self, line: str) -> str:
        """Return what there is to say to a line. Raises SidecarError."""
        if not line.startswith(":"):
            return shown(self.plain(line), indented=False)
        name, _, rest = line.partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            raise EnvelopeError(f"there is no `{name}`; `:help` lists what there is")
        return command(self, rest.strip())

    def plain(self, source: str) -> Json:
        """Return the value of an expression in plain JSON."""
        return to_json(self.typed(source))

    def typed(self, source: str) -> dict[str, Json]:
        """Return the value of an expression with its types."""
        return shown_typed(typed(self.bench.value(source)))

    def explain(self, source: str) -> str:
        """Return what made an expression come to its value."""
        return "\n".join(lines(self.bench.explanation(source), {}))

    def set(self, rest: str) -> str:
        """Let a name stand for a value."""
        name, _, value = rest.partition(" ")
        if not name.isidentifier() or not value.strip():
            raise EnvelopeError("`:set` takes a name and a value: `:set who {'id': 'ann'}`")
        try:
            self.bench.give(name, json.loads(value))
        except ParseError:
            self.bench.names[name] = self.bench.value(value)
        return ""

    def input(self, rest: str) -> str:
        """Let the names of a file stand for their values."""
        try:
            data = Path(rest).read_bytes()
        except (OSError, ValueError):
            raise EnvelopeError(f"{rest}: cannot be read") from None
        for name, value in read_object(data).items():
            self.bench.give(name, value)
        return ""

    def names(self, _rest: str) -> str:
        """Return each name with the beginning of its value."""
        found = sorted(self.bench.names)
        told = (lines(self.bench.explanation(name), {})[0] for name in found)
        return "\n".join(told) or "no names yet; `:set` or `:input` gives some"


def read_object(data: bytes) -> dict[str, Json]:
    """Return the JSON object of an input. Raises EnvelopeError."""
    try:
        read = json.loads(data)
    except ParseError as error:
        raise EnvelopeError(str(error)) from None
    if not isinstance(read, dict):
        raise EnvelopeError("the input is a JSON object: name → value")
    return read


def shown(value: Json, *, indented: bool) -> str:
    """Return a value of JSON as text that no terminal acts upon."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0).decode()
    return "\n".join(map(printable, text.split("\n")))


def with_notes(error: SidecarError) -> str:
    """Return an error with the line that it points to."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


COMMANDS: Final[dict[str, Callable[[Session, str], str]]] = {
    ":explain": Session.explain,
    ":type": lambda session, rest: session.bench.type_of(rest),
    ":cost": lambda session, rest: session.bench.cost_of(rest),
    ":set": Session.set,
    ":input": Session.input,
    ":names": Session.names,
    ":help": lambda _session, _rest: HELP,
}
QUIT: Final = frozenset({":quit", ":q", ":exit"})
