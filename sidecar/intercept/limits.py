"""Bounds on what listeners take in, each with its reason."""

from typing import Final

# A protocol's or an upstream's name stands in every record.
WORD_CHARS_MAX: Final = 128
# One request of a batch is one record each; a longer list is another request.
CALLS_MAX: Final = 100
# What lists in all calls of a batch hold together: four calls as large as one may be.
CALLS_ELEMENTS_MAX: Final = 4000
# What a caller says besides the call, of the call and of its parties, is looked through for persons
# and secrets word by word.
CLAIMED_VALUES_MAX: Final = 10_000
EVALUATIONS_MAX: Final = 500
# Of all batches at a time, in each worker: with the requests at a time fewer than the records that
# may be on their way to the recorder, so none is refused where others are many.
BATCHED_CALLS_MAX: Final = 512
# What is larger takes a millisecond or more to read: so long of each turn of the loop is given to
# such bodies, and one at least is read.
READ_AT_ONCE_BYTES_MAX: Final = 16 * 1024
READ_S_MAX: Final = 0.01
# Of one workload, batches that wait for their room read: what a body means is up to twenty times
# its bytes. More than one, so that there is one to go on with at once.
LARGE_WAITING_MAX: Final = 8
# A body is judged whole; beyond this the strict reader refuses it as well.
ASK_BODY_BYTES_MAX: Final = 8 * 1024 * 1024
# A caller on this machine has sent its body long before; a slow one holds memory.
ASK_BODY_S_MAX: Final = 10.0
# Each holds a body and a place in a group commit; more wait for a place.
ASK_IN_FLIGHT_MAX: Final = 512
ASK_CONNECTIONS_MAX: Final = 1024
# Of one address or one Unix user: nobody alone keeps the others out.
ASK_PEER_CONNECTIONS_MAX: Final = 768
# Longer than the keep-alive of common clients would only hold descriptors.
ASK_IDLE_S_MAX: Final = 75.0
# Questions that are asked over and over are short; each that is kept holds some kilobytes.
KNOWN_BODY_BYTES_MAX: Final = 2048
KNOWN_BODIES_MAX: Final = 1024
# And what they mean, about; twice of that, for there are two paths.
KNOWN_BODIES_BYTES_MAX: Final = 64 * 1024 * 1024
# Of each that was asked, how often is kept; then all of that is forgotten at once.
SEEN_BODIES_MAX: Final = 16_384
# Equal calls of one turn whose records are handed over at once: fewer than a frame holds.
TOGETHER_MAX: Final = 128

# Of a process, kept back from connections: with none it could not take the next recorder's socket.
DESCRIPTORS_SPARE: Final = 32

# --- the HTTP proxy ---

# The judge refuses longer ones; here they are cut off before they are held.
HTTP_LINE_BYTES_MAX: Final = 16 * 1024
HTTP_HEADER_BYTES_MAX: Final = 8 * 1024
HTTP_HEADERS_MAX: Final = 128
# Longer than a browser keeps an idle connection; also ends a head that never comes.
HTTP_IDLE_S_MAX: Final = 75.0
# Between two pieces of a body or of an answer: a stream that is silent for longer is dead.
HTTP_SILENT_S_MAX: Final = 300.0
# How long a refused sender may go on, so that it reads the refusal and not a reset.
HTTP_LINGER_S_MAX: Final = 1.0
HTTP_CONNECT_S_MAX: Final = 5.0
# A body that is judged is held whole.
HTTP_BODY_BYTES_MAX: Final = 8 * 1024 * 1024
HTTP_BODY_S_MAX: Final = 60.0
# Each holds two sockets and up to one body.
HTTP_CALLS_MAX: Final = 512
HTTP_CONNECTIONS_MAX: Final = 1024
