"""The words of the SELECT/INSERT/UPDATE/DELETE/MERGE grammar, and where they are words of it."""

from typing import Final

from sidecar.domains.data.parse.text.lexer import Token

# Reserved by PostgreSQL, or standing for nothing else where they may stand.
_BARE: Final = """
all and any array as asc between by case cross default delete desc distinct do else end except
exists false fetch for from full group having ilike in inner insert intersect into is isnull
join lateral left like limit natural not notnull nowait null offset on only or order outer overlaps
returning right select set similar some symmetric table tablesample then true union update using
values when where window with escape merge
"""
BARE: Final = frozenset(_BARE.split())
# Words of the grammar that are names anywhere else: bare after, or before, one of these.
CONTEXT: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    word: (frozenset(before.split()), frozenset(after.split()))
    for word, before, after in (
        ("bernoulli", "tablesample", ""), ("conflict", "on", ""), ("constraint", "on", ""),
        ("cube", "by , ( distinct all", ""), ("current", "", "row"),
        ("exclude", "row following preceding", ""),
        ("first", "nulls fetch", ""), ("following", "unbounded number string ) param", ""),
        ("grouping", "", "sets"), ("groups", "", "between unbounded current"),
        ("key", "no for", ""), ("last", "nulls", ""), ("locked", "skip", ""),
        ("matched", "when not", ""), ("materialized", "as not", ""), ("next", "fetch", ""),
        ("no", "for exclude", ""), ("nothing", "do", ""),
        ("nulls", "", "first last"), ("of", "update share", ""), ("ordinality", "with", ""),
        ("others", "no", ""), ("partition", "", "by"),
        ("preceding", "unbounded number string ) param", ""),
        ("range", "", "between unbounded current number string param"), ("recursive", "with", ""),
        ("repeatable", ")", ""),
        ("rollup", "by , ( distinct all", ""), ("row", "current first next", "only with"),
        ("rows", "number param ) first next", "between unbounded current from number"),
        ("sets", "grouping", ""), ("share", "for key", ""), ("skip", "", "locked"),
        ("system", "tablesample", ""), ("ties", "with exclude", ""),
        ("unbounded", "", "preceding following"),
        ("unknown", "is not", ""), ("within", "", "group"), ("over", ")", ""), ("filter", ")", ""),
    )
}  # fmt: skip

# Calls of the grammar's own whose brackets hold words instead of commas.
WORDY: Final[dict[str, dict[str, str]]] = {
    "extract": {"from": ","},
    "overlay": {"placing": ",", "from": ",", "for": ","},
    "position": {"in": ","},
    "substring": {"from": ",", "for": ",", "similar": ",", "escape": ","},
    "trim": {"from": ",", "both": "", "leading": "", "trailing": ""},
}
LABELLED: Final = frozenset(("xmlforest", "xmlattributes"))
# Words in the place of a value that are calls without brackets.
VALUES: Final = frozenset((
    "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "localtime", "localtimestamp", "session_user", "user",
))  # fmt: skip


def is_word_of_grammar(text: str, before: Token, after: Token) -> bool:
    """Return whether a word stands where the grammar has it, and not for a name."""
    if text in BARE:
        return True
    context = CONTEXT.get(text)
    if context is None:
        return False
    befores = {before.kind, before.text if before.kind != "quoted" else ""}
    afters = {after.kind, after.text if after.kind != "quoted" else ""}
    return bool(befores & context[0] or afters & context[1])
