"""`make demo`: run the story, show what was decided and why, and that the ledger finds a forger."""

import re
import sys
import time

from rich.console import Console
from rich.table import Table

from examples.demo.agent import Told, story
from examples.demo.world import EMPLOYEES, World, world

COLOURS = {"allow": "green", "deny": "red", "step_up": "yellow", "modify": "cyan"}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOT_INTACT = 20


def main() -> int:
    """Run everything; return 0 when the story came out as it must."""
    console = Console(width=132, highlight=False)
    began = time.monotonic()
    console.print("[bold]Doorward[/bold]: a valid key, a database account granted too broadly, and "
                  f"{EMPLOYEES:,} salaries\n")  # fmt: skip
    with world() as here:
        with here.running():
            told = list(story(here))
            _table(console, told)
        ok = _records(console, here, told) and _ledger(console, here)
    console.print(
        f"\n{time.monotonic() - began:.1f} s; everything that was started has been stopped"
    )
    return 0 if ok and _as_it_must(told) else 1


def _table(console: Console, told: list[Told]) -> None:
    table = Table("door", "asked by expense-bot for alice", "decided", "why")
    for one in told:
        colour = COLOURS.get(one.outcome, "white")
        table.add_row(one.door, one.asked, f"[{colour}]{one.outcome}[/{colour}]", one.why)
    console.print(table)


def _as_it_must(told: list[Told]) -> bool:
    """Return whether each door said both: yes to the agent's work, no to everything else."""
    outcomes = [one.outcome for one in told]
    salaries = [one for one in told if "salar" in one.asked or "compensation" in one.asked]
    return (
        outcomes.count("allow") == 7
        and outcomes.count("deny") == 10
        and outcomes.count("step_up") == 1
        and all(one.outcome == "deny" for one in salaries)
    )


def _records(console: Console, here: World, told: list[Told]) -> bool:
    """Show the record of a denial on the wire and of one that was asked for."""
    denied = next(one for one in told if one.door == "PostgreSQL" and one.outcome == "deny")
    asked = next(one for one in told if one.door == "MCP" and one.outcome == "deny")
    for one in (denied, asked):
        found = UUID.search(one.id)
        if found is None:
            console.print(f"[red]no decision id came with[/red] {one.asked}")
            return False
        console.print(f"\n[bold]The record of[/bold] {one.asked}")
        shown = here.sidecar("log", "show", found.group(), "--state", str(here.state))
        console.print(shown.stdout or shown.stderr, markup=False)
        if shown.returncode:
            return False
    return True


def _ledger(console: Console, here: World) -> bool:
    """Verify, change one byte, verify again, put it back, verify a third time."""
    codes = [_verify(console, here, "as it was written")]
    segment = max((here.state / "ledger").rglob("*.seg"))
    written = segment.read_bytes()
    middle = len(written) // 2
    segment.write_bytes(written[:middle] + bytes([written[middle] ^ 1]) + written[middle + 1 :])
    codes.append(_verify(console, here, "with one byte changed"))
    segment.write_bytes(written)
    codes.append(_verify(console, here, "with the byte put back"))
    return codes == [0, NOT_INTACT, 0]


def _verify(console: Console, here: World, what: str) -> int:
    done = here.sidecar("log", "verify", "--state", str(here.state))
    console.print(f"\n[bold]sidecar log verify[/bold], {what} → exit {done.returncode}")
    console.print((done.stdout + done.stderr).strip(), markup=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
