"""What a worker answers for before the recorder has it, in `group`, and how none of it is lost.

```
 worker   frame ─▶ spool, a file of the recorder's ─▶ socket ─▶ the caller is answered
 recorder            │                                  └─▶ written ─▶ Ack
                     └─ the worker is gone, and its socket is read to the end: what never came
```
`spool` is the file, `spools` the recorder's side of it, `worker/leading` a worker's.
"""
