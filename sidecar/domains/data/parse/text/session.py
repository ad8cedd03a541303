"""Recognises the statements that touch no data: transaction control, SHOW, and harmless settings.

They are read by an exact grammar over tokens, never by what a SQL parser makes of them: several
parsers read `DISCARD ALL` or `SAVEPOINT a` as an expression. A statement that begins like one of
these and does not fit is refused.

Of RESET and DISCARD: both return settings to what they were when the session began. Nothing that
may not be SET can have changed since, so `RESET ALL` and `DISCARD ALL` pass; a single setting may
be reset if it may be set. A listener that pins a setting does so in the startup message, not by
SET. What a text is read by, as `search_path`, may be set to what it is, as frameworks do when they
connect: to what, PostgreSQL's own grammar says (`second`).
"""

import re
from collections.abc import Sequence
from typing import Final

from sidecar.domains.data.parse.text.lexer import Token
from sidecar.terms.errors import ParseError
from sidecar.terms.reasons import reason

# They change how answers look or how long they may take, never what a name or a string means.
HARMLESS: Final = frozenset({
    "application_name", "bytea_output", "check_function_bodies", "client_min_messages", "datestyle",
    "default_transaction_deferrable", "default_transaction_isolation",
    "default_transaction_read_only", "extra_float_digits", "idle_in_transaction_session_timeout",
    "idle_session_timeout", "intervalstyle", "jit", "lock_timeout", "quote_all_identifiers",
    "restrict_nonsystem_relation_kind",
    "statement_timeout", "synchronize_seqscans", "timezone", "transaction_timeout",
})  # fmt: skip
# Each is a target of its own, class `admin`: no ordinary client changes them. With `row_security`
# off a query fails that the database's own policies would have cut; pg_dump asks for it.
GUARDED: Final = frozenset(("row_security",))
# What strings, bytes and XML mean, and where new tables lie: they may be set to what they are.
# PostgreSQL compares names of encodings by their letters and digits alone.
_READ_WITH: Final = {
    "standard_conforming_strings": frozenset(("on", "true")),
    "client_encoding": frozenset(("utf8", "unicode")),
    "xmloption": frozenset(("content",)),
    "default_tablespace": frozenset(("",)),
    "default_table_access_method": frozenset(("heap",)),
}
_SIGNS: Final = re.compile(r"[^a-z0-9]")
# Without a search path names mean less, never something else; RESET ALL brings back the pinned one.
_NO_PATH: Final = ("", "pg_catalog")

_MODE = (
    r"(?:isolation level (?:serializable|repeatable read|read committed|read uncommitted)"
    r"|read write|read only|(?:not )?deferrable)"
)
_MODES = rf"{_MODE}(?: ?,? {_MODE})*"
_BLOCK = r"(?: (?:work|transaction))?"
_CHAIN = r"(?: and (?:no )?chain)?"
_NAME = r" \x01"

# Token texts joined by one space; `\x01` stands for any name, `\x02` for any value.
_GRAMMAR: Final[dict[str, re.Pattern[str]]] = {
    verb: re.compile(rule + r"\Z")
    for verb, rule in {
        "begin": rf"begin{_BLOCK}(?: {_MODES})?",
        "start": rf"start transaction(?: {_MODES})?",
        "commit": rf"commit{_BLOCK}{_CHAIN}",
        "end": rf"end{_BLOCK}{_CHAIN}",
        "abort": rf"abort{_BLOCK}{_CHAIN}",
        "rollback": rf"rollback{_BLOCK}(?:{_CHAIN}| to(?: savepoint)?{_NAME})",
        "savepoint": rf"savepoint{_NAME}",
        "release": rf"release(?: savepoint)?{_NAME}",
        "show": rf"show(?: time zone| transaction isolation level| session authorization|{_NAME})",
        "deallocate": rf"deallocate(?: prepare)?{_NAME}",
        "discard": r"discard (?:all|plans|sequences|temp|temporary)",
        "close": rf"close{_NAME}",
        "unlisten": rf"unlisten(?: \*|{_NAME})",
    }.items()
}
# The words that the grammar above names; every other word, and every quoted one, is a name.
_WORDS: Final = frozenset(
    word for rule in _GRAMMAR.values() for word in re.findall(r"(?<!\\)[a-z]+", rule.pattern)
) | {"set", "local", "session", "characteristics", "as"}
# READ WRITE as well, as BEGIN may say it: that a role's sessions only read by default is no wall.
_TRANSACTION: Final = re.compile(
    rf"set (?:(?:local )?transaction|session characteristics as transaction) {_MODES}\Z"
)
_CONSTRAINTS: Final = [Token("word", "set"), Token("word", "constraints")]
# Each of them means the same alone and beside the others.
_TOGETHER: Final = frozenset(("close", "deallocate", "discard", "reset", "set", "show", "unlisten"))
_WORD_INTERVAL: Final = Token("word", "interval")
_UNITS: Final[tuple[list[Token], ...]] = (
    [],
    [Token("word", word) for word in ("hour", "to", "minute")],
)
# It is who has logged in, for nothing may set another. Npgsql's pool asks for it, and DISCARD ALL
# does the same.
_OWN_USER: Final = (
    [Token("word", word) for word in ["set", "session", "authorization", "default"]],
    [Token("word", word) for word in ["reset", "session", "authorization"]],
)
_RESET_ALL: Final = [Token("word", "reset"), Token("word", "all")]
_DISCARD_ALL: Final = [Token("word", "discard"), Token("word", "all")]
VERBS: Final = frozenset(_GRAMMAR) | {"set", "reset"}


def session_verb(statement: list[Token]) -> str | None:
    """Return the verb of a statement that touches no data, None when it is of another kind.

    Raises:
        ParseError: `parse.session` for a setting that may not be changed, `parse.unsupported` for a
            statement that begins with one of these verbs and goes on otherwise.
    """
    kind, verb = statement[0]
    if kind != "word" or verb not in VERBS:
        return None
    if statement[:2] == _CONSTRAINTS:
        # Which, and when they are checked, PostgreSQL's own grammar says (`second`).
        return "set_constraints"
    if statement in _OWN_USER:
        return verb
    if verb == "set":
        _check_set(statement)
    elif verb == "reset":
        _check_reset(statement)
    elif not _matches(_GRAMMAR[verb], statement):
        raise ParseError(reason("parse.unsupported"), f"this form of `{verb}` is not read")
    return verb


def may_be_set(name: str, value: str | None) -> bool:
    """Return whether a setting may be given a value, None for a parameter's."""
    return name.lower() in HARMLESS or (name.lower() == "search_path" and value in _NO_PATH)


def is_as_read(name: str, values: Sequence[str | None], search_path: Sequence[str]) -> bool:
    """Return whether a setting that a text is read by is set to what it is read by."""
    name = name.lower()
    if name == "search_path":
        return list(values) == [*search_path]
    told = [None if value is None else value.lower() for value in values]
    if name == "client_encoding":
        told = [None if value is None else _SIGNS.sub("", value) for value in told]
    return len(told) == 1 and told[0] in _READ_WITH[name]


def is_read_by(name: str) -> bool:
    """Return whether a text is read by a setting."""
    return name.lower() == "search_path" or name.lower() in _READ_WITH


def may_stand_together(statement: list[Token]) -> bool:
    """Return whether a statement may stand beside others of its kind in one text.

    It gives up what the session holds, as a pool asks it to, or says how answers shall look, as a
    driver does when it connects.

    Raises:
        ParseError: It begins like one and goes on otherwise.
    """
    if statement[:2] == [Token("word", "select"), Token("word", "pg_advisory_unlock_all")]:
        return statement[2:] == [Token("punct", "("), Token("punct", ")")]
    verb = session_verb(statement)
    # A transaction's mode hangs on which transaction there is.
    return verb in _TOGETHER and not _TRANSACTION.match(" ".join(map(_spelt, statement)))


def guarded_setting(statement: list[Token]) -> str | None:
    """Return the guarded setting that a SET or RESET changes, None where it changes none."""
    if not statement or statement[0].text not in ("set", "reset"):
        return None
    words = [token.text.lower() for token in statement[1:3] if token.kind in ("word", "quoted")]
    named = words[1:2] if words[:1] in (["session"], ["local"]) else words[:1]
    return named[0] if named and named[0] in GUARDED else None


def resets_all(statement: list[Token]) -> bool:
    """Return whether `statement` returns the whole session to its start."""
    return statement in (_RESET_ALL, _DISCARD_ALL)


def _matches(rule: re.Pattern[str], statement: list[Token]) -> bool:
    """Return whether the statement fits, its last word being the rule's or a name."""
    spelt = [_spelt(token) for token in statement]
    if rule.match(" ".join(spelt)):
        return True
    return statement[-1].kind in ("word", "quoted") and bool(
        rule.match(" ".join([*spelt[:-1], "\x01"]))
    )


def _spelt(token: Token) -> str:
    if token.kind == "word":
        return token.text if token.text in _WORDS else "\x01"
    if token.kind == "quoted":
        return "\x01"
    return token.text if token.text in ("*", ",") else "\x02"


def _check_set(statement: list[Token]) -> None:
    if _TRANSACTION.match(" ".join(_spelt(token) for token in statement)):
        return
    rest = statement[1:]
    if rest[:1] in ([Token("word", "session")], [Token("word", "local")]):
        rest = rest[1:]
    if rest[:2] == [Token("word", "time"), Token("word", "zone")]:
        zone = rest[2:]
        if zone[:1] == [_WORD_INTERVAL] and zone[2:] in _UNITS:
            zone = zone[1:2]
        rest = [Token("word", "timezone"), Token("word", "to"), *zone]
    elif rest[:1] == [Token("word", "names")]:
        rest = [Token("word", "client_encoding"), Token("word", "to"), *rest[1:]]
    is_known = _is_harmless(rest[:1]) or _is_read_by(rest[:1])
    if not is_known or rest[1:2] not in ([Token("word", "to")], [Token("op", "=")]):
        raise ParseError(reason("parse.session"), "this setting may not be changed")
    _check_values(rest[2:])


def _check_values(values: list[Token]) -> None:
    """Refuse anything but literals and bare words with commas between them."""
    values = [value for value in values if value not in (Token("op", "-"), Token("op", "+"))]
    plain = all(value.kind in ("word", "quoted", "string", "number") for value in values[::2])
    commas = all(value == Token("punct", ",") for value in values[1::2])
    if not plain or not commas or len(values) % 2 == 0:
        raise ParseError(reason("parse.session"), "a setting's value is a literal or a word")


def _check_reset(statement: list[Token]) -> None:
    rest = statement[1:]
    if rest == [Token("word", "time"), Token("word", "zone")]:
        return
    is_known = rest == [Token("word", "all")] or _is_harmless(rest) or _is_read_by(rest)
    if len(rest) != 1 or not is_known:
        raise ParseError(reason("parse.session"), "this setting may not be reset")


def _is_read_by(name: list[Token]) -> bool:
    # INVARIANT: whoever lets this pass checks what it is set to.
    return bool(name) and name[0].kind in ("word", "quoted") and is_read_by(name[0].text)


def _is_harmless(name: list[Token]) -> bool:
    # Settings are looked up without regard to case, quoted or not.
    return (
        bool(name)
        and name[0].kind in ("word", "quoted")
        and name[0].text.lower() in HARMLESS | GUARDED
    )
