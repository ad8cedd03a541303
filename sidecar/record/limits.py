"""Bounds of the ledger, each with its reason."""

from typing import Final

# An entry of a C2SP tile has a 16-bit length (65,535); the place in the log is added to this.
RECORD_BYTES_MAX: Final = 60 * 1024
# A frame is a record and its place in the log; more is not a frame of ours.
FRAME_BYTES_MAX: Final = 0xFFFF
# Small enough to be read back in a fraction of a second, large enough for a day of a small service.
SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
# One write and one fdatasync carry at most this much; the rest waits for the next.
BATCH_RECORDS_MAX: Final = 1024
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
# A disk that hangs must not fill the memory: beyond this many waiting writes each is refused at
# once.
WAITING_MAX: Final = 16_384
# A caller waits this long for its record, then the call is refused.
DURABLE_TIMEOUT_S: Final = 2.0
# What is newer than the last signed checkpoint can be cut off unseen: this bounds it.
CHECKPOINT_EVERY_S: Final = 1.0
# When a record is too large its lists are cut to these lengths, one after the other, until it fits.
LISTS_CUT_TO: Final = (256, 64, 16, 4)
# When lists are not enough, single texts are cut; digests and ids are shorter than the last of
# these.
TEXTS_CUT_TO: Final = (2048, 256)
# A checkpoint note is a few lines; a note with many witnesses is still below this.
NOTE_BYTES_MAX: Final = 64 * 1024
READ_BYTES: Final = 1024 * 1024
