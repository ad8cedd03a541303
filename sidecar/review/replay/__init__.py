"""What was decided once, decided again: under the same bundle, or under one that is proposed.

```
 recorded ─line▶ read ─Recorded▶ redecide ─Same | Differs | InputGone▶ counts ─▶ report
                  └ beside: names, sealed forms, side objects, entities, kept bundles
```
A record holds the Request as it was understood; that is decided, not the call's bytes, which nobody
kept. Whatever a rule of the other bundle may read and the record does not have is named, and then
nothing is said of that decision: replay answers same, differs or input gone, and never guesses.
"""

from sidecar.review.replay.recorded import read_recorded
from sidecar.review.replay.redecide import Again, Differs, Same

__all__ = ["Again", "Differs", "Same", "read_recorded"]
