"""`sidecar log`: read the ledger, prove it, hand it over.

| file | verbs |
|---|---|
| `reading.py` | `tail`, `show`; in words by `told.py`, the text of rules by `rules.py` |
| `proving.py` | `verify`, `prove`, `key` |
| `exporting.py` | `export` |
| `forgetting.py` | `forget`, `hold`, `release` |

Persons are shown by name where the table of persons is at hand (`people.py`); what proves something
is the bytes of the ledger, with handles.
"""

import click

from sidecar.cli.log.exporting import export
from sidecar.cli.log.forgetting import forget, hold, release
from sidecar.cli.log.proving import key, prove, verify
from sidecar.cli.log.reading import show, tail


@click.group("log")
def command() -> None:
    r"""Read the ledger, prove it, hand it over.

    Without a FOLDER it is that of ./sidecar.yaml, of -c FILE or of --state FOLDER. Each verb tells
    more with --help.

    \b
    Examples:
      sidecar log tail -f --outcome deny
      sidecar log show 0192f0c1-7a3e-7c4b-9d2e-0f6a5b4c3d2e
      sidecar log verify
      sidecar log export --format csv --since 30d --out ./for-the-auditor
    """


for _verb in (tail, show, verify, prove, export, forget, hold, release, key):
    command.add_command(_verb)
