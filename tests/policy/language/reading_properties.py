"""Laws of the reader: any text is read or refused with its place; what is written is read back."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.language.limits import Limits
from sidecar.policy.language.reading.lexer import SyntaxProblem, tokens
from sidecar.policy.language.reading.parser import parse
from sidecar.policy.language.tree import Constant, Tree
from sidecar.policy.language.walk import children, nodes
from tests.trees import EXPRESSIONS, shown

PIECES = st.sampled_from(
    [
        *(
            "a",
            "b.c",
            ".d",
            "x",
            "1",
            "2u",
            "0x1F",
            "1.5",
            ".5",
            "1e3",
            "'a'",
            '"b"',
            "r'c'",
            "b'd'",
        ),
        *("'''e'''", "true", "null", "in", "as", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":"),
        *(
            "!",
            "-",
            "+",
            "*",
            "/",
            "%",
            "==",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "&&",
            "||",
            "`f`",
            "has(",
        ),
        *(
            "all(x,",
            "map(",
            "cel.bind(",
            ".?",
            "[?",
            "{?",
            "//",
            "'",
            '"',
            "\\",
            "=",
            "&",
            "|",
            "@",
        ),
        *("é", "a.all(x,x)", "{a:b}", "[a]", "f(a)", "A{b:c}"),
    ]
)
SOUP = st.lists(st.one_of(PIECES, st.just(" "), st.just("\n")), max_size=20).map("".join)


def read(source: str) -> Tree | SyntaxProblem:
    try:
        return parse(source)
    except SyntaxProblem as problem:
        return problem


def value_of(source: str) -> object:
    tree = parse(source)
    assert isinstance(tree, Constant)
    return tree.value


@given(st.one_of(SOUP, st.text(max_size=60)))
def test_any_text_is_read_or_refused_with_its_place(source):
    found = read(source)

    if isinstance(found, SyntaxProblem):
        assert 0 <= found.start <= found.end <= len(source)
        assert found.text
    else:
        assert all(0 <= node.start < node.end <= len(source) for node in nodes(found))


@given(EXPRESSIONS)
def test_a_node_lies_inside_of_the_one_around_it(source):
    rest = [parse(source)]
    while rest:
        node = rest.pop()
        for child in children(node):
            assert node.start <= child.start <= child.end <= node.end
            rest.append(child)


@given(EXPRESSIONS)
def test_space_between_tokens_means_nothing(source):
    spread = "\n".join(token.text for token in tokens(source, Limits()))

    assert shown(parse(source)) == shown(parse(spread))


@given(EXPRESSIONS)
def test_brackets_around_the_whole_mean_nothing(source):
    assert shown(parse(source)) == shown(parse(f"({source})"))


ESCAPES = {"\n": "\\n", "\r": "\\r", "'": "\\'", "\\": "\\\\"}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_written_string_is_read_back(value):
    written = "".join(ESCAPES.get(letter, letter) for letter in value)

    assert parse(f"'{written}'") == Constant(0, len(written) + 2, "string", value)


@given(st.binary(max_size=40))
def test_written_bytes_are_read_back(value):
    octets = "".join(f"\\x{octet:02x}" for octet in value)

    assert value_of(f"b'{octets}'") == value


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1))
def test_a_written_number_is_read_back(signed, unsigned):
    assert value_of(str(signed)) == signed
    assert value_of(f"{unsigned}u") == unsigned


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_double_is_read_back(value):
    written = f"{value:.17e}"

    assert value_of(written) == value


@given(st.integers(2**63, 2**70))
def test_a_number_beyond_its_kind_is_refused(value):
    for written in (str(value), f"-{value + 1}", f"{value << 1}u"):
        found = read(written)

        assert isinstance(found, SyntaxProblem)
        assert "out of range" in found.text
