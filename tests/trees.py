"""Write a syntax tree as one line, which is how the tables of the language show it.

`a + b.c` is `(_+_ a b.c)`; a literal is its value (`1`, `1u`, `'x'`), a macro its name with what it
goes over first: `(exists l [x] (_==_ x 1))`. A rooted name, as all that the checker resolved, has a
`$`.
"""

from typing import assert_never

from hypothesis import strategies as st

from sidecar.policy.language import tree as cel

LEAVES = st.sampled_from(
    ["a", "b.c", ".d", "1", "-1", "2u", ".5", "'x'", "r'y'", "null", "[]", "{}"]
)
FORMS = (
    *("({0})", "{0}.f", "{0}.`g h`", "({0}).?f", "[{0}, {1}]", "[?{0},]", "{{{0}: {1}}}", "!({0})"),
    *("{0}[{1}]", "{0}[?{1}]", "f({0})", "a.f({0}, {1})", "{0} + {1}", "{0} - {1} * {2}", "-({0})"),
    *("{0} && {1} || {2}", "{0} == {1}", "{0} in {1}", "({0}) ? ({1}) : {2}", "{0} // c\n < {1}"),
    *("has(({0}).f)", "[{0}].all(x, {1})", "[{0}].map(x, {1}, {2})", "cel.bind(x, {0}, {1})"),
    *("a.exists(k, v, {0})", "[{0}].sortBy(x, {1})", "A.B{{c: {0}}}", "{0}\t!=\n{1}"),
)


def _formed(inner):
    return st.builds(str.format, st.sampled_from(FORMS), inner, inner, inner)


# The text of expressions that are well formed, and not often well typed.
EXPRESSIONS = st.recursive(LEAVES, _formed, max_leaves=12)


def shown(tree: cel.Tree) -> str:
    """Return the tree on one line."""
    match tree:
        case cel.Constant(kind=kind, value=value):
            return {"bool": str(value).lower(), "null": "null"}.get(kind, f"{value!r}") + (
                "u" if kind == "uint" else ""
            )
        case cel.Name(name=name, rooted=rooted):
            return f"${name}" if rooted else name
        case cel.Select(operand=operand, field=field, optional=optional, test=test):
            said = f"{shown(operand)}{'.?' if optional else '.'}{field}"
            return f"(has {said})" if test else said
        case cel.Call(function=function, args=args, target=target):
            on = "" if target is None else f"{shown(target)}."
            return _listed(f"{on}{function}", args)
        case cel.Bind(name=name, init=init, body=body):
            return f"(bind {name} {shown(init)} {shown(body)})"
        case cel.Fold(kind=kind, range=range_, names=names, body=body, condition=condition):
            parts = (range_, body) if condition is None else (range_, condition, body)
            first, *rest = map(shown, parts)
            return f"({' '.join([kind, first, '[' + ' '.join(names) + ']', *rest])})"
        case _:
            return _gathered(tree)


def _gathered(tree: cel.ListOf | cel.MapOf | cel.MessageOf) -> str:
    match tree:
        case cel.ListOf(items=items, optional=optional):
            marks = ["?" if at in optional else "" for at in range(len(items))]
            return f"[{' '.join(m + shown(i) for m, i in zip(marks, items, strict=True))}]"
        case cel.MapOf(entries=entries, optional=optional):
            marks = ["?" if at in optional else "" for at in range(len(entries))]
            pairs = [f"{shown(key)}: {shown(value)}" for key, value in entries]
            return f"{{{', '.join(m + p for m, p in zip(marks, pairs, strict=True))}}}"
        case cel.MessageOf(name=name, fields=fields):
            return f"{name}{{{', '.join(f'{key}: {shown(value)}' for key, value in fields)}}}"
        case _:
            assert_never(tree)


def _listed(head: str, args: tuple[cel.Tree, ...]) -> str:
    return f"({' '.join([head, *map(shown, args)])})"
