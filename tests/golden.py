"""Write what others read: schemas and golden files. `python -m tests.golden`, then read the diff.

`MADE` maps each path to the function that makes its bytes; tests/test_golden.py makes each again
and compares, so a change of what others read is always seen.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from sidecar.cli import VERBS, root
from sidecar.cli.schemas import SCHEMAS, file_name, of_type, text_of
from sidecar.domains import found
from sidecar.terms.decision import Decision
from sidecar.terms.reasons import REASONS
from sidecar.terms.record import LoggedRecord
from sidecar.terms.request import Request
from tests.policy.language import error_texts
from tests.review import packs
from tests.words import page_of

ROOT = Path(__file__).parent.parent

CASE_SCHEMA: dict[str, Any] = {
    "title": "A table of test cases",
    "type": "object",
    "required": ["cases"],
    "properties": {
        "source": {"type": "string"},
        "cases": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["it", "want"],
                "additionalProperties": False,
                "properties": {
                    "it": {"type": "string", "description": "A sentence that says the behaviour."},
                    "given": {"description": "What goes in."},
                    "want": {"description": "What must come out."},
                    "source": {"type": "string", "description": "The clause of a standard."},
                },
            },
        },
    },
}


def decision() -> bytes:
    """Return the schema of a decision as it is answered: `permitted` stands in it as well."""
    schema = msgspec.json.schema(Decision)
    shape = schema["$defs"]["Decision"]
    shape["properties"]["permitted"] = {"type": "boolean"}
    shape["required"].append("permitted")
    return text_of({"title": "A decision", **schema})


def record() -> bytes:
    return text_of({"title": "A record of the ledger", **msgspec.json.schema(LoggedRecord)})


def reasons() -> bytes:
    words = [{"const": word, "description": text} for word, text in sorted(REASONS.items())]
    return text_of({"title": "Why a decision came out as it did", "oneOf": words})


def help_of(verb: str | None) -> Callable[[], bytes]:
    """Return the maker of the `--help` of a verb and its own verbs; None is `sidecar` itself."""

    def made() -> bytes:
        context = click.Context(
            root, info_name="sidecar", terminal_width=80, **root.context_settings
        )
        if verb is None:
            return f"{root.get_help(context)}\n".encode()
        return "\n".join(_helps(verb, root.get_command(context, verb), context)).encode()

    return made


def _helps(name: str, command: click.Command | None, parent: click.Context) -> list[str]:
    assert command is not None
    # click keeps the help option of whoever asked first, perhaps a test without our settings.
    command._help_option = None
    context = click.Context(command, info_name=name, parent=parent)
    inner = command.commands if isinstance(command, click.Group) else {}
    own = [f"{command.get_help(context)}\n"]
    return own + [text for key, found in inner.items() for text in _helps(key, found, context)]


MADE: dict[str, Callable[[], bytes]] = {
    **{f"sidecar/domains/{name}/README.md": partial(page_of, name) for name in found()},
    "policies/packs/RULES.md": packs.page,
    "schemas/case.schema.json": lambda: text_of(CASE_SCHEMA),
    **{f"schemas/{file_name(kind)}": made for kind, made in SCHEMAS.items()},
    "schemas/decision.schema.json": decision,
    "schemas/reasons.schema.json": reasons,
    "schemas/record.schema.json": record,
    "schemas/request.schema.json": partial(of_type, "A request, as parsed from a call", Request),
    "tests/golden/errors.txt": error_texts.golden,
    "tests/golden/help/sidecar.txt": help_of(None),
    **{f"tests/golden/help/{verb}.txt": help_of(verb) for verb in VERBS},
}


def main() -> None:
    for name, make in MADE.items():
        file = ROOT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(make())
        print(name)


if __name__ == "__main__":
    main()
