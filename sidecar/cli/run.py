"""`sidecar run -c sidecar.yaml`: every listener, until told to stop."""

import sys
from pathlib import Path

import click
import msgspec

from sidecar.cli.paths import FILE_OR_FOLDER, NAMED_FILE
from sidecar.runtime.config import DEFAULT_FILE, ShadowDoc, read_config
from sidecar.runtime.processes.machine import log_to_stderr
from sidecar.runtime.supervisor import supervise
from sidecar.terms.errors import ConfigError


@click.command("run")
@click.option(
    "-c",
    "--config",
    type=NAMED_FILE,
    default=DEFAULT_FILE,
    show_default=True,
    help="The configuration; its paths are relative to it.",
)
@click.option(
    "--workers",
    type=int,
    default=None,
    help="Processes that decide; `workers` of the configuration where it is not given.",
)
@click.option(
    "--shadow",
    type=FILE_OR_FOLDER,
    help="A candidate bundle: asked about every call, obeyed in none; differences are recorded.",
)
def command(config: Path, workers: int | None, shadow: Path | None) -> None:
    r"""Serve every listener of a configuration.

    When all of them serve, one line is printed: `ready` and a JSON object with
    the addresses, the ports that were chosen for port 0 among them, and the
    processes. It is printed again each time that one was started anew.

    \b
    Signals:
      SIGHUP            reload bundle, candidate and entities (also done when files change)
      SIGTERM, SIGINT   end what is under way, then exit 0

    \b
    Exit codes: 0 stopped, 2 the configuration cannot be used, 3 the bundle does
    not load, 20 the ledger is not intact or another process writes it, 21 the
    ledger's disk is full or not writable.

    \b
    Examples:
      sidecar run -c sidecar.yaml
      kill -HUP $(pgrep -of 'sidecar run')
    """
    log_to_stderr()
    try:
        data = config.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{config}: cannot be read: {error.strerror} (`sidecar init DIR` writes one)"
        ) from None
    read = read_config(config, data)
    if shadow is not None:
        said = msgspec.structs.replace(read.doc, shadow=ShadowDoc(str(shadow.absolute())))
        read = msgspec.structs.replace(read, doc=said)
    sys.exit(supervise(read, data.decode(), workers or read.doc.workers, click.echo))
