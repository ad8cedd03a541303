"""What the supervisor starts, and how it speaks with it.

`control` is the line between two processes, `child` the life of one, `bound` the addresses,
`recording` the recorder's process.
"""
