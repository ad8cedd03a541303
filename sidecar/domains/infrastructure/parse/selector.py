r"""Kubernetes field selectors, as far as they name one object.

`metadata.name=x` in a list is a read of that one object, and the API server authorizes it so.

Source: k8s.io/apimachinery pkg/fields/selector.go (`\`, `,` and `=` are escaped by a backslash).
"""

from sidecar.domains.infrastructure.parse.payload import refuse


def exact_name(selector: str) -> str:
    """Return the name that `metadata.name` must equal, `""` when the selector names none."""
    names = {
        value
        for field, operator, value in map(_term, _terms(selector))
        if field == "metadata.name" and operator != "!="
    }
    if len(names) > 1:
        raise refuse("parse.ambiguous", "a field selector that names two objects")
    return names.pop() if names else ""


def _terms(selector: str) -> list[str]:
    """Return the terms between commas that no backslash stands before; empty ones are left out."""
    terms, start, escaped = [], 0, False
    for index, char in enumerate(selector):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(selector[start:index])
            start = index + 1
    return [term for term in (*terms, selector[start:]) if term]


def _term(term: str) -> tuple[str, str, str]:
    """Return field, operator and unescaped value of one term."""
    for index in range(len(term)):
        for operator in ("!=", "==", "="):
            if term.startswith(operator, index):
                return term[:index], operator, _unescaped(term[index + len(operator) :])
    raise refuse("parse.syntax", "a field selector without an operator")


def _unescaped(value: str) -> str:
    found, escaped = "", False
    for char in value:
        if escaped and char not in "\\,=":
            raise refuse("parse.syntax", "a field selector with an unknown escape")
        if not escaped and char == "=":
            raise refuse("parse.syntax", "a field selector with an unescaped `=`")
        if escaped or char != "\\":
            found, escaped = found + char, False
        else:
            escaped = True
    if escaped:
        raise refuse("parse.syntax", "a field selector that ends in a backslash")
    return found
