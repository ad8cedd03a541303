"""A least-privilege draft from what was permitted: rules, evidence, and tests made of the same.

```
 recorded ─▶ observed (who did what to which, how often) ─▶ draft (rules) ─▶ tested (suite) ─▶ files
```
What was seen is not what is right: a draft grants what was used, for a person to read. It never
grants more labels than were seen: a pattern that stands for resources nobody has touched yet holds
only where they carry no other label.
"""

from sidecar.review.suggest.draft import drafted
from sidecar.review.suggest.files import files_of
from sidecar.review.suggest.observed import observe

__all__ = ["drafted", "files_of", "observe"]
