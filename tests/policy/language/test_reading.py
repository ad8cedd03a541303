"""Text becomes the tree that the specification means, or a problem that says where and why."""

import pytest

from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.lexer import SyntaxProblem, place
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.tree import Constant, Name
from sidecar.policy.language.walk import nodes
from tests.tables import rows
from tests.trees import shown


@pytest.mark.parametrize("row", rows("policy/language/grammar.yaml"))
def test_the_grammar(row):
    assert row.want == shown(parse(row.given))


@pytest.mark.parametrize("row", rows("policy/language/macros.yaml"))
def test_a_macro(row):
    assert row.want == shown(parse(row.given))


@pytest.mark.parametrize("row", rows("policy/language/literals.yaml"))
def test_a_literal(row):
    ((kind, value),) = row.want.items()

    tree = parse(row.given)

    assert isinstance(tree, Constant)
    expected = bytes.fromhex(value) if kind == "bytes" else int(value) if kind == "uint" else value
    assert (kind, expected, type(expected)) == (tree.kind, tree.value, type(tree.value))


@pytest.mark.parametrize("row", rows("policy/language/syntax_errors.yaml"))
def test_an_error(row):
    with pytest.raises(SyntaxProblem) as caught:
        parse(row.given)

    problem = caught.value
    line, column = place(row.given, problem.start)
    span = row.given[problem.start : problem.end]
    assert row.want == f"{line}:{column} «{span}» {problem.text}"


def test_macros_can_be_left_out():
    expected = "(_&&_ (_&&_ (has a.b) (a.all x x)) (cel.bind x 1 x))"

    tree = parse("has(a.b) && a.all(x, x) && cel.bind(x, 1, x)", macros=False)

    assert expected == shown(tree)


@pytest.mark.parametrize(
    ("source", "spans"),
    [
        ("(a + b) * c", ["(a + b) * c", "a + b", "a", "b", "c"]),
        ("(a.b).c", ["(a.b).c", "a.b", "a"]),
        ("!(a) || -1 == [ b ][ 0 ]", None),
        ("x.all(e, e.f(1)) ? {k: v} : -a", None),
    ],
)
def test_a_node_spans_its_text(source, spans):
    found = [source[node.start : node.end] for node in nodes(parse(source))]

    assert spans is None or spans == found
    assert found[0] == source


DEEP = {
    "brackets": ("(", "a", ")"),
    "lists": ("[", "a", "]"),
    "maps": ("{1:", "a", "}"),
    "indexes": ("a[", "a", "]"),
    "calls": ("f(", "a", ")"),
    "methods": ("a.f(", "a", ")"),
    "messages": ("A{b:", "a", "}"),
    "macros": ("a.all(x,", "a", ")"),
    "binds": ("cel.bind(x,a,", "a", ")"),
    "signs": ("-(", "a", ")"),
    "branches": ("a?a:(", "a", ")"),
    "tightening operators": ("a||b&&c==d+e*-f(", "a", ")"),
    "nots": ("!", "a", ""),
    "minuses": ("-", "a", ""),
    "sums": ("a+", "a", ""),
    "relations": ("a==", "a", ""),
    "fields": ("", "a", ".b"),
    "indexing": ("", "a", "[0]"),
    "conditionals": ("a?b:", "a", ""),
}


@pytest.mark.parametrize("shape", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("times", [101, 500, 5_000])
def test_depth_is_refused_before_anything_recurses(shape, times):
    before, middle, after = shape
    source = before * times + middle + after * times

    with pytest.raises(SyntaxProblem, match=r"^nested deeper than 100$"):
        parse(source, Limits(characters=1_000_000))


@pytest.mark.parametrize("shape", DEEP.values(), ids=DEEP)
def test_the_depth_that_the_specification_asks_for_is_read(shape):
    before, middle, after = shape
    # Each of its brackets is seven levels of the tree: as many operators, and the call.
    times = 14 if "||" in before else 32
    source = before * times + middle + after * times

    found = [node for node in nodes(parse(source)) if isinstance(node, Name) and node.name == "a"]

    assert found


def test_a_long_chain_of_clauses_is_not_deep():
    source = " && ".join(["a"] * 1_000)

    tree = parse(source)

    assert sum(1 for _ in nodes(tree)) == 1_999
    assert sum(1 for _ in nodes(parse(" || ".join(["a && b"] * 800)))) == 3_199


def test_a_long_text_is_refused_unread():
    with pytest.raises(SyntaxProblem, match=r"^longer than 8192 characters$"):
        parse("(" * 8_193)


@pytest.mark.parametrize("digits", ["9" * 5_000, "0x" + "f" * 5_000, "1e" + "9" * 5_000])
def test_a_number_of_thousands_of_digits_is_out_of_range(digits):
    with pytest.raises(SyntaxProblem, match="out of range"):
        parse(digits)


def test_a_lone_surrogate_in_the_text_is_refused():
    with pytest.raises(SyntaxProblem, match="half of a surrogate pair is no character"):
        parse("'\ud800'")
