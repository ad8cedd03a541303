"""Bounds on what the PostgreSQL listener takes in, each with its reason."""

from typing import Final

# PostgreSQL's own MAX_STARTUP_PACKET_LENGTH.
STARTUP_BYTES_MAX: Final = 10_000
# SASL messages are a few hundred bytes; whoever has not logged in gets no more memory than this.
LOGIN_BYTES_MAX: Final = 4096
# What a server says in a login is twenty messages, with a pooler's own and notices a few more.
LOGIN_MESSAGES_MAX: Final = 512
# A statement is judged whole; parsers refuse far shorter texts.
STATEMENT_BYTES_MAX: Final = 1024 * 1024
# Bind carries values that are not read, and a value may be a document.
BIND_BYTES_MAX: Final = 16 * 1024 * 1024
# Everything else is a name or two.
MESSAGE_BYTES_MAX: Final = 64 * 1024
# Messages of the server that are read whole: tags, errors, parameters. Rows pass unread.
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
# PostgreSQL keeps statements and portals under 63 bytes of their name (NAMEDATALEN - 1).
NAME_BYTES_MAX: Final = 63
# More than any driver's cache holds; the oldest is then forgotten, and using it is refused.
NAMES_MAX: Final = 2048
# What statements behind names, and unanswered ones, of one connection may take in memory, about: a
# thousand of the kind that people write. One more is refused.
STATEMENTS_BYTES_MAX: Final = 32 * 1024 * 1024
# What one takes in any case, and so many times the JSON of what it means (3 times, measured); more
# with values, for a number of four digits takes 36 bytes.
STATEMENT_BYTES: Final = 4 * 1024
STATEMENT_FACTOR: Final = 4
VALUES_FACTOR: Final = 16
# Of a type that a Parse gives, four bytes, the server's answer makes a number in a tuple.
TYPES_FACTOR: Final = 12
# Messages sent upstream and not answered yet; the client's next ones wait.
UNANSWERED_MAX: Final = 4096
# Parses and Binds of one name that are not answered yet; nobody pipelines a name against itself.
CANDIDATES_MAX: Final = 4
# Messages of one client that are taken before others have their turn: those that ask for nothing
# (Flush, data of a COPY that was refused) may be 50,000 in what comes at once, a third of a second.
MESSAGES_A_TURN_MAX: Final = 512
# Bytes of a client that wait behind a decision before it is asked to stop sending.
WAITING_BYTES_MAX: Final = 256 * 1024
# PostgreSQL's authentication_timeout is 60 s, for people who type; workloads do not.
LOGIN_S_MAX: Final = 10.0
# A connection that says nothing for as long as this is nobody's.
IDLE_S_MAX: Final = 3600.0
# Whoever holds locks and says nothing holds up others; PostgreSQL itself sets no bound.
IDLE_IN_TRANSACTION_S_MAX: Final = 600.0
# How long a client waits for a decision and its record while the upstream owes it nothing. Facts
# have bounds of their own, far shorter; what takes longer is a disk or a process that hangs.
DECISION_S_MAX: Final = 30.0
# How long a connection that is to end may take to read what it was told.
CLOSE_S_MAX: Final = 5.0
# How far one decision reaches on a prepared statement (`lease_max_s`).
LEASE_S_MAX: Final = 60.0
# Each costs a connection of the upstream, which has a hundred by default.
CONNECTIONS_MAX: Final = 500
# Connections that have not proven who they are; the oldest makes room for the next one. Fewer than
# CONNECTIONS_MAX, so that whoever proves nothing keeps nobody out, and fewer from one address.
LOGINS_MAX: Final = 200
LOGINS_PER_PEER_MAX: Final = 100
# Outcomes that wait to be recorded or are still to come; the client's next messages wait as well.
OUTCOMES_MAX: Final = 1024
# A denial's text stands in a client's log line.
MESSAGE_CHARS_MAX: Final = 2000
TOKEN_CHARS_MAX: Final = 512
# Uses of a prepared statement are counted for as long as this before they are told of.
OUTCOMES_EVERY_S: Final = 1.0
# Other outcomes go with the first decision after this, and no later than after that. Nobody waits
# for them, and whoever waits for a decision would wait for what goes with it as well; so they go
# behind it where it is known that it was sent.
OUTCOMES_APART_S: Final = 0.002
OUTCOMES_GATHERED_S: Final = 0.005
# Texts of a connection of which is remembered what equal calls have in common, and their length.
KNOWN_TEXTS_MAX: Final = 256
KNOWN_CHARS_MAX: Final = 4096
# What these take in memory, about: of one connection, and of all of a worker, where whoever has the
# most gives it up. What a text of twenty letters means may be a table of a thousand columns.
KNOWN_BYTES_MAX: Final = 8 * 1024 * 1024
ALL_KNOWN_BYTES_MAX: Final = 128 * 1024 * 1024
# Texts of a connection whose form is remembered, in bytes.
FORMS_BYTES_MAX: Final = 64 * 1024
# Of the texts that differ in literals alone, those whose form is looked for first.
NEAR_MAX: Final = 4
# Hashes of texts that were asked once.
SEEN_TEXTS_MAX: Final = 1024
