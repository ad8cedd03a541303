"""The one client session that forwards: what one decision permits is sent once.

A client library sends what it holds to be idempotent a second time when the connection ends before
an answer. The upstream may have acted on the first, and the second would stand on no record. So:
- what ends without an answer has failed (`once`);
- each call has a connection of its own, and says so to the upstream. None is kept that the upstream
  may close just as the next call begins, which is what retries are for; nor can an answer that is
  out of step reach another caller.

Source: RFC 9110 §9.2.2 (what may be retried by itself, and by whom).
"""

from aiohttp import (
    ClientConnectionError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)

# Of these the library makes none by itself: what the app sent goes on, or nothing does.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def forwarding_session(calls_max: int, connect_s_max: float, silent_s_max: float) -> ClientSession:
    """Return a session for `calls_max` calls at a time, which adds, keeps and repeats nothing."""
    return ClientSession(
        connector=TCPConnector(force_close=True, limit=calls_max),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None, sock_connect=connect_s_max, sock_read=silent_s_max),
        skip_auto_headers=_NOT_ADDED,
        middlewares=(once,),
    )


async def once(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Send `request`; raise what the library does not answer by sending it once more.

    Raises:
        ClientConnectionError: The connection was not made, or ended before an answer.
    """
    try:
        return await send(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise ClientConnectionError(str(error)) from error
