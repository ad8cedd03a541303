"""Laws of routing: one answer, whatever the order; the answer matches; nothing goes before it."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domains.application.catalogue.routes import Route, Routes, read_template

PARTS = st.sampled_from(["a", "b", "me", "{x}", "{y}"])
TEMPLATES = st.lists(PARTS, max_size=3, unique=True).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(st.sampled_from(["a", "b", "me", "7"]), max_size=3).map(tuple)


def route(template):
    return Route(method="GET", template=template, where="api.yaml:1:1")


def shape(template):
    return read_template(template)[0]


def matches(template, path):
    parts = shape(template)
    return len(parts) == len(path) and all(
        part is None or part == text for part, text in zip(parts, path, strict=True)
    )


def built(templates):
    """Return the routes and the templates that they took."""
    routes = Routes()
    return routes, [template for template in templates if not routes.add(route(template))]


@given(st.lists(TEMPLATES, max_size=8, unique=True), PATHS)
def test_the_answer_matches_and_is_the_most_literal(templates, path):
    routes, taken = built(templates)

    found = routes.find("GET", path)

    fitting = [template for template in taken if matches(template, path)]
    assert (found is None) == (fitting == [])
    if found:
        chosen = shape(found.route.template)
        assert found.route.template in fitting
        for other in map(shape, fitting):
            assert all(a is not None or b is None for a, b in zip(chosen, other, strict=True))


@given(st.lists(TEMPLATES, max_size=6, unique=True), PATHS, st.randoms(use_true_random=False))
def test_the_order_of_declaration_is_irrelevant(templates, path, random):
    routes, taken = built(templates)
    shuffled = list(taken)
    random.shuffle(shuffled)
    others, took = built(shuffled)

    assert sorted(took) == sorted(taken)
    assert routes.find("GET", path) == others.find("GET", path)


@given(st.lists(TEMPLATES, min_size=2, max_size=8, unique=True), PATHS)
def test_what_is_refused_would_have_been_a_second_answer(templates, path):
    _, taken = built(templates)

    for template in set(templates) - set(taken):
        one = shape(template)
        rivals = [
            other
            for other in map(shape, taken)
            if len(one) == len(other)
            and all(None in {a, b} or a == b for a, b in zip(one, other, strict=True))
            and any(a is not None and b is None for a, b in zip(one, other, strict=True))
            == any(a is None and b is not None for a, b in zip(one, other, strict=True))
        ]
        assert rivals


@given(st.text(alphabet="ab7", min_size=1, max_size=5))
def test_a_parameter_holds_the_segment(text):
    routes, _ = built(["/users/{id}"])

    found = routes.find("GET", ("users", text))

    assert found is not None
    assert found.params == {"id": text}
