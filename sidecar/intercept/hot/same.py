"""The request that came last on a connection, known again by its bytes: who asks again sends them.

What is remembered is what its bytes come to by themselves; what is answered is found each time.
"""

from collections.abc import Callable

from sidecar.intercept.hot.limits import SAME_BYTES_MAX
from sidecar.intercept.hot.seam import Answer
from sidecar.intercept.hot.shared import Met


class Same:
    """One request, head and body in one piece.

    Attributes:
        raw: It; None where there is none yet.
        met: Its head.
        body: Its body.
        again: What answers it each time anew, once that is known.
    """

    __slots__ = ("again", "body", "met", "raw")

    met: Met
    body: bytes

    def __init__(self) -> None:
        self.raw: bytes | None = None
        self.again: Callable[[], Answer] | None = None

    def forget(self) -> None:
        """Forget it."""
        self.raw, self.body, self.again = None, b"", None

    def becomes(self, data: bytes, known: dict[bytes, Met]) -> bool:
        """Remember the request that `data` is, where it is one whole with a head that is known."""
        end = data.find(b"\r\n\r\n") + 4
        met = known.get(data[:end])
        if met is None or met.length != len(data) - end or len(data) > SAME_BYTES_MAX:
            return False
        self.raw, self.met, self.body, self.again = data, met, data[end:], None
        return True
