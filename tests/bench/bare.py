"""A server that answers 200 and nothing else: `python -m tests.bench.bare` prints its port.

The same library and loop as the ask listener's, so that what is between the two is ours.
"""

import asyncio
import socket
import sys

from aiohttp import web

from tests.bench.load import fast_loop

BODY = b'{"decision":true}'


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    await request.read()
    return web.Response(body=BODY, headers={"Content-Type": "application/json"})


async def serve() -> None:
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = web.Server(answer, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, sock=bound)
    sys.stdout.write(f"{bound.getsockname()[1]}\n")
    sys.stdout.flush()
    # It serves until whoever started it closes the pipe.
    await asyncio.to_thread(sys.stdin.read)
    listening.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(serve())
