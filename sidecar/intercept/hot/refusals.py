"""What a connection itself refuses, before or instead of the service behind it."""

from typing import Final

from sidecar.intercept.hot.head import Malformed, Unexpected
from sidecar.intercept.hot.seam import Refused

NOT_HTTP: Final = Refused(400, "http", "the request is not HTTP")
EXPECTATION: Final = Refused(417, "expect", "no expectation is met but one `100-continue`")
FAILED: Final = Refused(500, "internal", "the sidecar failed")
MISFRAMED: Final = Refused(400, "body", "the body is not framed as its headers say")
LATE: Final = Refused(408, "body", "the body did not come in time")
BUSY: Final = Refused(429, "busy", "too many requests at a time", {"Retry-After": "1"})


def of(malformed: Malformed) -> Refused:
    """Return the refusal of what is no request that is read."""
    return EXPECTATION if isinstance(malformed, Unexpected) else NOT_HTTP


def too_large(bytes_max: int) -> Refused:
    """Return the refusal of a body beyond its bound."""
    return Refused(413, "too_large", f"the body is larger than {bytes_max} bytes")
