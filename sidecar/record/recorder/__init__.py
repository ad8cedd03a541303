"""The one process that writes the ledger, and how workers reach it.

`wire` is what is said, `server` the recorder's side of it, `worker/client` a worker's.
"""
