"""What a request is, byte by byte: tests/cases/intercept/hot/heads.yaml and chunks.yaml."""

import msgspec
import pytest

from sidecar.intercept.hot.body import Chunked, TooLarge
from sidecar.intercept.hot.head import Head, Malformed, Unexpected, head_end, read_head
from sidecar.intercept.hot.limits import HEAD_BYTES_MAX, HEADERS_MAX
from tests.tables import rows

BYTES_MAX = 32


@pytest.mark.parametrize("row", rows("intercept/hot/heads.yaml"))
def test_head(row):
    raw = row.given.encode()
    if "error" in row.want:
        with pytest.raises(Malformed) as raised:
            read_head(raw[: head_end(raw)])
        assert raised.type is {"malformed": Malformed, "unexpected": Unexpected}[row.want["error"]]
        return

    head = read_head(raw[: head_end(raw)])

    expected = {"method": "POST", "target": "/", "headers": head.headers, **row.want}
    assert msgspec.structs.asdict(Head(**expected)) == msgspec.structs.asdict(head)


@pytest.mark.parametrize("row", rows("intercept/hot/chunks.yaml"))
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_chunks(row, step):
    """However the bytes come, they mean the same."""
    body, rest, raw = Chunked(BYTES_MAX), None, row.given.encode()
    error = ""
    for at in range(0, len(raw), step):
        try:
            rest = body.feed(raw[at : at + step])
        except Malformed:
            error = "malformed"
        except TooLarge:
            error = "too large"
        if error or rest is not None:
            # What is left was not handed over yet.
            rest = None if rest is None else rest + raw[at + step :]
            break

    if "error" in row.want:
        assert row.want["error"] == error
    elif "waits" in row.want:
        assert (rest, error) == (None, "")
    else:
        assert (row.want["body"], row.want["rest"]) == (
            body.whole().decode(),
            (rest or b"").decode(),
        )


def test_values_are_read_without_outer_blanks_and_names_in_lower_case():
    head = read_head(b"POST / HTTP/1.1\r\nHost: a\r\nX-A: \t a b \t\r\nx-a:\r\nX-B: \xe9\r\n\r\n")

    assert head.all("x-a") == ["a b", ""]
    assert head.all("x-b") == ["\xe9"]


def test_a_head_is_bounded_in_bytes_lines_and_the_length_of_a_line():
    line = b"POST / HTTP/1.1\r\nHost: a\r\n"

    assert read_head(line + b"X: y\r\n" * (HEADERS_MAX - 1) + b"\r\n").method == "POST"
    for raw in (
        line + b"X: y\r\n" * HEADERS_MAX + b"\r\n",
        line + b"X: " + b"y" * 10_000 + b"\r\n\r\n",
    ):
        with pytest.raises(Malformed):
            read_head(raw)
    with pytest.raises(Malformed):
        head_end(line + b"X: " + b"y" * HEAD_BYTES_MAX)


@pytest.mark.parametrize(
    "start", [b"", b"P", b"POST / HTTP/1.1\r", b"POST / HTTP/1.1\r\nHost: a\r"]
)
def test_the_start_of_a_head_is_waited_for(start):
    assert head_end(b"POST / HTTP/1.1\r\n") == 0
    if start:
        assert head_end(start) == 0


@pytest.mark.parametrize("start", [b"\x16\x03\x01", b"\r\n", b" ", b"post", b"POST / HTTP/1.1\nH"])
def test_what_can_be_no_head_is_not_waited_for(start):
    with pytest.raises(Malformed):
        head_end(start)
