"""Checks what a session's settings are set to, where a text is read by them.

Our scanner keeps no strings, so PostgreSQL's own grammar says to what. RESET brings back what the
session began with, as RESET ALL does.
"""

from collections.abc import Sequence

from sidecar.domains.data.parse.second import Seen, literal
from sidecar.domains.data.parse.text.session import is_as_read, is_read_by
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason


def check_settings(seen: Seen, search_path: Sequence[str]) -> None:
    """Check that a SET of what texts are read by sets it to what it is.

    Raises:
        ParseError: `parse.session`.
    """
    for one in seen.tree.get("stmts", ()):
        said = one["stmt"].get("VariableSetStmt", {})
        name = said.get("name", "")
        if not is_read_by(name) or said["kind"] == "VAR_RESET":
            continue
        values = [literal([value]) for value in said.get("args", ())]
        if said["kind"] != "VAR_SET_VALUE" or not is_as_read(name, values, search_path):
            raise ParseError(reason("parse.session"), "what texts are read by may not be changed")
