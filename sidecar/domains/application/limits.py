"""Bounds on what an application call may hold, each with its reason."""

from typing import Final

# A URL longer than this is cut or refused by servers that we stand before.
URL_BYTES_MAX: Final = 16 * 1024
QUERY_PAIRS_MAX: Final = 512
# aiohttp and nginx stop at about a hundred; more are an attack on whoever counts worse.
HEADERS_MAX: Final = 128
HEADER_BYTES_MAX: Final = 8 * 1024
# A host name as DNS has it (RFC 1035 §2.3.4).
HOST_BYTES_MAX: Final = 253
# Templates of one file: large published descriptions have about a thousand.
ROUTES_MAX: Final = 10_000
# Hosts whose one form is known; an API is reached by few.
HOSTS_KEPT_MAX: Final = 256
# What a URL means is kept for those asked for again: enough for a busy API, a few megabytes.
KNOWN_URLS_MAX: Final = 4096
KNOWN_URL_CHARS_MAX: Final = 512
