"""Long texts: read in a process of their own beside each worker, so that no loop waits for one.

```
flow ─Elsewhere▶ Desk ─queue▶ Reader ═socket pair═▶ process: the bundle by its digest, one at a time
     ◀─ asks again ── take ◀── answer ◀═════════════
```
The process is started with the first long text and dies with its worker. It is trusted as the
worker is: it reads the same bundle from the same store, and has nobody else to talk to. Whatever it
does not answer is a denial.
"""

import copy

from sidecar.domains import data
from sidecar.policy.bundle import Bundle


def bound(bundle: Bundle) -> Bundle:
    """Return a bundle whose domain of SQL has long texts read elsewhere."""
    changed = copy.copy(bundle)
    away = data.DataDomain(bundle.digest)
    changed.domains = {
        protocol: away if domain is data.DOMAIN else domain
        for protocol, domain in bundle.domains.items()
    }
    return changed
