"""Bounds on what the HTTP proxy takes in, each with its reason."""

from typing import Final

# The judge refuses longer ones; here they are cut off before they are held.
LINE_BYTES_MAX: Final = 16 * 1024
HEADER_BYTES_MAX: Final = 8 * 1024
HEADERS_MAX: Final = 128
# Longer than a browser keeps an idle connection; also ends a head that never comes.
IDLE_S_MAX: Final = 75.0
# Between two pieces of a body or of an answer: a stream that is silent for longer is dead.
SILENT_S_MAX: Final = 300.0
# How long a refused sender may go on, so that it reads the refusal and not a reset.
LINGER_S_MAX: Final = 1.0
CONNECT_S_MAX: Final = 5.0
# A body that is judged is held whole.
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
BODY_S_MAX: Final = 60.0
# Each holds two sockets and up to one body.
CALLS_MAX: Final = 512
CONNECTIONS_MAX: Final = 1024
