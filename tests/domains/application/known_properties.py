"""What is kept of a URL is what would be read of it again."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domains.application.catalogue import Catalogue
from sidecar.domains.application.limits import KNOWN_URLS_MAX
from sidecar.domains.application.parse import parse
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.domain import Needs
from sidecar.terms.errors import ParseError
from sidecar.terms.request import Parsed
from sidecar.terms.words import CallId

pieces = st.sampled_from(
    (
        "http://",
        "https://",
        "a.test",
        "/b",
        "/%2e",
        "?q=1",
        "&q=2",
        ":80",
        "#f",
        "/..",
        "//",
        "é",
        "",
    )
)
urls = st.lists(pieces, max_size=6).map("".join)
methods = st.sampled_from(("GET", "POST", "get", "TRACE", ""))
upstreams = st.sampled_from(("default", "other"))


def read(upstream: str, method: str, url: str, catalogue: Catalogue) -> Parsed | str:
    call = Call(
        id=CallId("1"),
        time="2026-01-01T12:00:00.000000Z",
        listener="test",
        upstream=upstream,
        protocol="http",
        payload={"method": method, "url": url},
        identity=Identity(Party("user", "alice")),
    )
    try:
        return parse(call, catalogue, Needs())
    except ParseError as error:
        return error.reason


@given(st.lists(st.tuples(upstreams, methods, urls), min_size=1, max_size=6))
def test_asking_again_changes_nothing(asked: list[tuple[str, str, str]]) -> None:
    kept = Catalogue()

    for upstream, method, url in [*asked, *asked]:
        again = read(upstream, method, url, kept)
        assert again == read(upstream, method, url, Catalogue())


def test_what_is_kept_is_bounded() -> None:
    catalogue = Catalogue()

    for number in range(KNOWN_URLS_MAX + 10):
        read("default", "GET", f"http://a.test/{number}", catalogue)
    read("default", "GET", "http://a.test/" + "x" * 4000, catalogue)

    assert 0 < len(catalogue.known) <= KNOWN_URLS_MAX
