"""Bounds on what one connection may send, hold and make us wait for, each with its reason."""

from typing import Final

# A head is a request line, a credential and a handful of headers.
HEAD_BYTES_MAX: Final = 16 * 1024
LINE_BYTES_MAX: Final = 8 * 1024
HEADERS_MAX: Final = 64
# A head comes in one packet from a caller on this machine; one that trickles holds a descriptor.
HEAD_S_MAX: Final = 10.0
# Who has shown no credential yet is here to send a request, not to hold a place.
STRANGER_S_MAX: Final = 5.0
# Of all requests at a time, what one workload may have: the others are not kept out.
IN_FLIGHT_SHARE: Final = 0.75
# For a place among them: longer than the recorder may keep those who have one waiting.
WAIT_S_MAX: Final = 5.0
# Bodies under way in one worker, from their first bytes to their answers; one workload may have as
# much of that as of the requests. A short body is not counted: requests are.
BODIES_BYTES_MAX: Final = 64 * 1024 * 1024
SHORT_BODY_BYTES_MAX: Final = 64 * 1024
# What is sent ahead while a request is being answered; beyond this nothing more is read.
AHEAD_BYTES_MAX: Final = 64 * 1024
# An answer that nobody takes holds memory; a caller on this machine takes it at once.
WRITE_S_MAX: Final = 10.0
WRITE_BUFFER_BYTES_MAX: Final = 64 * 1024
# What is still sent after a refusal is read away this long, so that the refusal is seen.
LINGER_S_MAX: Final = 0.5
# A chunk's line is at most eight hex digits; sixteen mebibytes in chunks of one byte is an attack.
CHUNKS_MAX: Final = 16 * 1024
# Heads that were read and admitted before: a client sends the same head again and again.
KNOWN_HEADS_MAX: Final = 1024
KNOWN_HEAD_BYTES_MAX: Final = 2048
# A request that each connection keeps, to know it again.
SAME_BYTES_MAX: Final = 4096
# Requests of one connection that are answered at once in a row; then it is the others' turn.
TURNS_MAX: Final = 32
# New requests of one turn take each step together, half of them at a time: with more of them less
# is fetched anew, with fewer the recorder has work sooner.
STEPPING_MIN: Final = 8
STEPPING_MAX: Final = 32
# How often deadlines are looked at: the longest that one may be overstayed.
SWEEP_S_MAX: Final = 1.0
SWEEP_S_MIN: Final = 0.01
REQUEST_ID_CHARS_MAX: Final = 256
# With no descriptor left, one will be free when some connection has ended.
ACCEPT_REST_S: Final = 0.5
# Connections that are taken in one turn of the loop, by who holds no more than others: with a turn
# of dear questions for each the last of a thousand would wait for half a minute.
TAKES_MAX: Final = 16
# A worker that holds one connection more than another lets it go first, as long as a wake-up takes.
STOOD_BACK_S: Final = 0.00005
# One that holds so many more leaves it to the other, asks again this often, and not for longer.
AHEAD_MAX: Final = 2
STAND_BACK_S: Final = 0.001
STANDS_BACK_S_MAX: Final = 0.02
# One that holds more than its share by so many sends what is beyond away.
EXCESS_MAX: Final = 2
