"""The verifier that is handed over: one file that needs no Doorward.

It is written here in modules of a size that can be read, and handed out as one; it takes nothing
from the rest of the tree, so that what it says does not rest upon what it judges.
"""

import ast
from importlib.resources import files
from typing import Final

MODULES: Final = ("notes", "forms", "verifier")
_PACKAGE: Final = "sidecar.record.outside"


def one_file() -> str:
    """Return the verifier as the text of one Python file: its modules, one after the other."""
    texts = [(files(_PACKAGE) / f"{name}.py").read_text("utf-8") for name in MODULES]
    doc = ast.get_docstring(ast.parse(texts[-1]), clean=False)
    assert doc is not None
    return "\n\n".join([f'"""{doc}"""', *map(_without_ours, texts)]) + "\n"


def _without_ours(text: str) -> str:
    """Return a module without its docstring and without what it takes from its siblings."""
    lines = text.split("\n")
    for node in ast.parse(text).body:
        is_doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE)
        if is_doc or is_ours:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    # Names of the file itself, which is run and not imported.
    return "\n".join(lines).strip("\n")
