"""Bounds of the runtime, each with its reason."""

from typing import Final

# A configuration is written by hand; more is not one.
CONFIG_BYTES_MAX: Final = 1024 * 1024
# A password or a header on one line.
SECRET_BYTES_MAX: Final = 4096
# `sun_path` has 108 bytes on Linux, 104 on macOS, its end included.
UNIX_PATH_BYTES_MAX: Final = 103
BACKLOG: Final = 1024
# How often a bundle's folder is looked at for changes; SIGHUP does not wait for it.
POLL_S: Final = 1.0
# A folder that changes while it is read is read again, this often, then the change is refused.
STABLE_READS_MAX: Final = 5
# Calls under way at SIGTERM have this long to end.
DRAIN_S: Final = 10.0
# Where the hard limit of descriptors is infinite: what a kernel allows by itself (fs.nr_open).
DESCRIPTORS_MAX: Final = 1024 * 1024
# Of a process, besides those of connections: files, sockets to the others, what is under way.
DESCRIPTORS_BESIDES: Final = 256
# A worker that has lost its supervisor drains quickly and is gone, whatever hangs; the recorder
# stays a little longer, for what the workers still write.
ORPHAN_DRAIN_S: Final = 1.0
ORPHAN_EXIT_S: Final = 3.0
RECORDER_ORPHAN_EXIT_S: Final = 3.5
# A sidecar that starts while the last one's orphan leaves waits longer than that takes.
LEDGER_WAIT_S: Final = 4.5
LEDGER_LOOK_S: Final = 0.05
# A worker loads every domain and compiles the bundle before it is ready.
START_S: Final = 60.0
# A process that dies is started again soon; one that dies more often than this in the window has a
# cause that a restart does not cure, and its delay doubles up to the longest.
RESTART_DELAY_S_MIN: Final = 0.05
RESTART_DELAY_S_MAX: Final = 5.0
RESTARTS_FREE: Final = 30
RESTART_WINDOW_S: Final = 60.0
# What supervisor and worker say to each other is small, but for the text of all metrics.
CONTROL_BYTES_MAX: Final = 16 * 1024 * 1024
# More workers than this is a mistake of who wrote it.
WORKERS_MAX: Final = 64
# A bundle loads in seconds; a worker that has not done so by then is ended and started anew.
LOAD_S_MAX: Final = 30.0
# Who scrapes waits for no process longer than this: its last numbers stand for it.
SCRAPE_S_MAX: Final = 1.0
# A question of the operator is a line; to erase sealed inputs of a long log takes a while.
ADMIN_LINE_BYTES_MAX: Final = 4096
ADMIN_S_MAX: Final = 60.0
# How often the recorder looks whether its disk is well again, and tells the workers.
STATE_EVERY_S: Final = 0.25
# Versions that get a label of their own in the metrics; later ones are counted as `other`.
VERSION_LABELS_MAX: Final = 16
# What is refused before there is a call is told this often: a line and a record of each kind.
REFUSALS_TOLD_EVERY_S: Final = 1.0
# A disk that comes and goes is one pair of lines in this time.
OUTAGES_TOLD_EVERY_S: Final = 10.0
# `sidecar doctor` measures the disk this often and shows the median.
FSYNC_SAMPLES: Final = 20
# A durable record slower than this is felt by every call.
FSYNC_SLOW_MS: Final = 20.0
# Calls that wait for a candidate bundle: they hold what was asked, and nobody waits for them.
SHADOW_QUEUE_MAX: Final = 1024
# So many at a time, for so long, and so often: nobody who asks waits for more than that, or for one
# call that takes longer.
SHADOW_BATCH_MAX: Final = 16
SHADOW_TURN_S: Final = 0.002
SHADOW_EVERY_S: Final = 0.01
# And then a rest of so many times what that took: at most a tenth of a worker, however slow it is.
SHADOW_RESTS: Final = 9
# Of one worker; a candidate that differs in everything must not fill the log.
SHADOW_RECORDS_PER_S_MAX: Final = 50
# Calls whose times are put by before they are counted.
SPENT_MAX: Final = 256
# Of listener, protocol and outcome, before the protocols that are none of ours become one.
ANSWERS_MAX: Final = 256
# Long texts are read one after the other in about a quarter of a second at most; one that takes
# longer than this is refused, its process ended and started anew.
ERRAND_S_MAX: Final = 5.0
# Whatever ends that process ends it for the next text too, or it does not.
ERRAND_TRIES: Final = 2
# Of who acts, and of all in one worker; who comes later is refused.
ERRANDS_OF_ONE_MAX: Final = 64
ERRANDS_WAITING_MAX: Final = 512
# An answer, and the byte before it.
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
# The one in force, and the one before it, whose calls end, or the candidate.
READER_BUNDLES_MAX: Final = 2
# Who reads long texts takes the processor when nobody answers short questions.
READER_NICE: Final = 5
