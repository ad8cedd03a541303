"""A process that writes as fast as it can and says which records were acknowledged.

`python -m tests.record.writer STATE FIRST`
"""

import asyncio
import os
import sys
from pathlib import Path

from sidecar.record.ledger import Ledger, ledger_paths
from tests.record.sample import admin

IN_FLIGHT = 16


async def main(state: Path, first: int) -> None:
    ledger = Ledger.open(*ledger_paths(state))
    os.write(1, b"open\n")

    async def write(number: int) -> None:
        while True:
            await ledger.write(admin(number, text="x" * 900))
            os.write(1, b"id-%d\n" % number)
            number += IN_FLIGHT

    await asyncio.gather(*(write(first + n) for n in range(IN_FLIGHT)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
