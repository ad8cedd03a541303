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
# What one worker may have on its way to the recorder: records, and their bytes.
UNACKED_MAX: Final = 2048
UNACKED_BYTES_MAX: Final = 64 * 1024 * 1024
# One frame between a worker and the recorder; what is gathered in a turn is cut to less than this.
WIRE_BYTES_MAX: Final = 64 * 1024 * 1024
# A frame that has come to this is sent; with one call's text more it is still below the above.
GATHERED_BYTES_MAX: Final = 4 * 1024 * 1024
FRAME_RECORDS_MAX: Final = 512
# Of records that go over whole, a worker takes milliseconds to make so many: meanwhile the recorder
# writes those of before.
FRAME_WHOLE_MAX: Final = 32
# What is read from a worker at once: what its socket holds, and a little more.
RECEIVED_BYTES: Final = 256 * 1024
# A worker that leaves this much of what it is told untaken is deaf.
UNTAKEN_BYTES_MAX: Final = 64 * 1024 * 1024
# While workers go on sending, a batch is added to this often before it is written.
GATHERED_ROUNDS_MAX: Final = 16
# Of what calls have in common, the recorder remembers this much for each process that writes: as
# many as an ask listener knows bodies.
STENCILS_MAX: Final = 1024
# The recorder knows the ids of this many last records for each process that writes: more than it
# may send again.
RECENT_IDS_EACH: Final = 2 * UNACKED_MAX
# How long erasing a person may take.
ERASE_S_MAX: Final = 50.0
# A worker remembers this many persons' handles; beyond that it forgets all and asks again.
HANDLES_MAX: Final = 100_000
# A worker that does not take a revocation in this time is told to be stuck, and ended.
TOOK_S_MAX: Final = 1.0
# A recorder that leaves waits this long for its workers to be gone: a disk may hang.
LEAVING_S_MAX: Final = 2.0
# A worker that ends has ended so long after its connection: one that lives then is ended.
FORSAKEN_S: Final = 1.0
# What the recorder owes itself (an outcome `unknown`) is tried again this often.
OWED_EVERY_S: Final = 0.5
# A caller waits this long for its record, then the call is refused.
DURABLE_TIMEOUT_S: Final = 2.0
# Then what has come in the meantime is heard before it is: a timer of a loop that was held up is
# called before its sockets are read.
HEARD_S: Final = 0.001
# What is newer than the last signed checkpoint can be cut off unseen: this bounds it.
CHECKPOINT_EVERY_S: Final = 1.0
# When a record is too large its lists are cut to these lengths, one after the other, until it fits.
LISTS_CUT_TO: Final = (256, 64, 16, 4)
# When lists are not enough, single texts are cut; digests and ids are shorter than the last of
# these.
TEXTS_CUT_TO: Final = (2048, 256)
# A checkpoint note is a few lines; a note with many witnesses is still below this.
NOTE_BYTES_MAX: Final = 128 * 1024
# A frame must fit. More is, by the C library's defaults, memory that the system gives anew each
# time: a page fault for each 4 KiB, which costs a quarter of what verifying them does.
READ_BYTES: Final = 120 * 1024
# The longest `type:id` that is given a handle; of longer ones nothing is kept.
PERSON_CHARS_MAX: Final = 1024
# In a longer text with escapes a name costs the text: reading it letter by letter takes too long.
SWEPT_CHARS_MAX: Final = 64 * 1024
# So much of the texts of one call is read letter by letter, some tens of milliseconds; beyond that,
# what may name somebody, or does so more often than this in one text, is erased as a whole.
SWEPT_COST_MAX: Final = 4 * SWEPT_CHARS_MAX
# A longer text with escapes is first searched for the first one that matters, by a pattern of its
# own; for a shorter one that would not pay.
SEARCHED_CHARS_MIN: Final = 4096
SWEPT_TEXT_COST: Final = 64
SWEPT_PLAIN_CHARS: Final = 32
SWEPT_SPAN_COST: Final = 4
SWEPT_SPANS_MAX: Final = 4096
# All of them stand in memory; beyond this many nobody new is recorded, and so not served.
PERSONS_MAX: Final = 2_000_000
# The table of persons is read at start and rewritten when somebody is forgotten.
PERSONS_BYTES_MAX: Final = 1024 * 1024 * 1024
# A side object is a call's text: larger ones than a body may be are not kept.
OBJECT_BYTES_MAX: Final = 16 * 1024 * 1024
# What is rewritten at once when an object is erased.
OBJECTS_FILE_BYTES_MAX: Final = 64 * 1024 * 1024
# Upkeep waits until nobody has written for this long, unless so many jobs wait (two a segment) that
# the unsealed segments take too much of the disk.
UPKEEP_QUIET_S: Final = 0.005
UPKEEP_JOBS_MAX: Final = 16
# A segment ends after this long even when it is small: what is sealed is what retention can remove.
SEGMENT_AGE_S_MAX: Final = 24 * 3600.0
# What is sealed in one step between two batches: about a millisecond.
SEAL_STEP_BYTES: Final = 256 * 1024
# A sealed segment is synced this much at a time, so that no single sync holds a batch up.
SEAL_SYNC_BYTES: Final = 1024 * 1024
# The system has written what is older than half a minute: so many tiles are more than that.
TILES_MENDED_MAX: Final = 64
# No crash leaves more behind: a window of the largest records, and the batch that ended it.
TORN_BYTES_MAX: Final = 128 * 1024 * 1024
# How often each byte behind a damaged record is looked at in vain for frames, and how many are at
# least: a loss of power leaves a few heads of frames without records, and no text holds a head.
SEARCHED_TIMES_MAX: Final = 2
SEARCHED_BYTES_MIN: Final = 64 * 1024 * 1024
# What looking at a possible frame costs beside its bytes, as so many of these.
SEARCH_COST_BYTES: Final = 256
# zstd may ask for this much memory to read a sealed segment; we write with 2 MiB.
WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
# Kept back on the disk for the record that says that it is full: a segment, a record, a checkpoint.
RESERVE_BYTES: Final = 256 * 1024
# The wall clock may be off the monotonic one by this much before it is a step that is recorded.
CLOCK_STEP_S: Final = 0.5
# One that is ahead by this much may be wrong by a year: what age alone would prune waits as long.
CLOCK_LEAP_S: Final = 7 * 24 * 3600.0
# Holds are few, each with a sentence that says why.
HOLDS_BYTES_MAX: Final = 64 * 1024
HOLD_CHARS_MAX: Final = 500
# How often it is looked whether the folder and the key are still ours to write.
GROUNDS_EVERY_S: Final = 1.0
# Changes of one folder that are less apart may have one time: a tick, of 100 a second at least.
CTIME_S: Final = 0.02
# Segments of before that are looked for each time.
LOOKED_AT_MAX: Final = 64
# Of what is accepted and not yet synced (`group`), at most this many records for at most this long.
GROUP_RECORDS_MAX: Final = 1_000
GROUP_S_MAX: Final = 0.05
# What a worker answers for before the recorder has it (`group`): so many records, while the
# recorder has written something so lately, kept in a file of so many bytes.
AHEAD_RECORDS_MAX: Final = 128
AHEAD_S_MAX: Final = 0.001
SPOOL_BYTES_MAX: Final = 1024 * 1024
# What a file system takes for such a file is its own choice (XFS `allocsize`, often 64 MiB).
SPOOL_ROOM_MAX: Final = 128 * 1024 * 1024
# How often it is looked whether one is larger, while anybody says anything, else each second.
SPOOL_SIZE_S: Final = 0.05
# What can stand in it and not in the log: these, and what was accepted and a failing disk lost.
SPOOL_RECORDS_MAX: Final = AHEAD_RECORDS_MAX + GROUP_RECORDS_MAX
# A worker that was cut off is ended in milliseconds; until then what it had is its own.
SPOOL_LOOK_S: Final = 0.02
# Recorders that died one after the other before they heard which spools a worker had.
SPOOLS_OF_BEFORE_MAX: Final = 64
# A worker cannot have more frames refused: all that it has sent and is not known to be durable.
REFUSED_MAX: Final = 2 * UNACKED_MAX
# A snapshot holds the folds' states; the ids of many open decisions are still below this.
SNAPSHOT_BYTES_MAX: Final = 64 * 1024 * 1024
# So many records that nobody can understand are named at once.
UNREAD_TOLD_MAX: Final = 16
# Of equal calls, ways in which they came out: facts change, and so do handles.
OUTCOMES_KEPT_MAX: Final = 4
# What is kept of one call: so much in any case, and so many times its request's JSON for what it
# means (3 times, measured) and for each way in which it came out.
AGAIN_BYTES: Final = 16 * 1024
REQUEST_FACTOR: Final = 3 + OUTCOMES_KEPT_MAX
# Of calls that are asked again, one in so many is timed, for all of them: the clock and the
# histograms cost more than the rules do.
TIMED_EVERY: Final = 16
