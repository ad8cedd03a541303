"""A shop's API that trusts whoever reaches it, as internal ones do; prints its port."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Api(BaseHTTPRequestHandler):
    """Says yes to everything."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b'{"ok":true}')

    do_GET = do_POST = _answer  # noqa: N815 - the base class's own names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""


with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
