"""`make demo`: run the story, show what was decided and why, and that the ledger finds a forger."""

import json
import re
import sys
import time
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.demo.agent import (
    AFTER,
    BEFORE,
    EXPENSES,
    STEPS,
    Step,
    Told,
    Typed,
    at_the_database,
    elsewhere,
)
from examples.demo.terminal import NAME, Login
from examples.demo.world import EMPLOYEES, World, world

COLOURS = {"allow": "green", "deny": "red", "step_up": "yellow", "modify": "cyan"}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOT_INTACT = 20
LINES_MAX = 12


def main() -> int:
    """Run everything; return 0 when the story came out as it must."""
    console = Console(width=132, highlight=False)
    began = time.monotonic()
    console.print("[bold]Doorward[/bold]: a valid key, a database account granted too broadly, and "
                  f"{EMPLOYEES:,} salaries")  # fmt: skip
    with world() as here:
        straight, through = f"{NAME}, straight to the database", f"{NAME}, through the sidecar"
        typed = _typed(console, f"{straight}: what the account may do", here.account, BEFORE)
        with here.running():
            typed += _typed(
                console, f"{through}: expense-bot, for alice of sales", here.agent, STEPS
            )
            told = list(elsewhere(here))
        typed += _typed(console, f"{straight}: what was left there", here.account, AFTER)
        console.print()
        _table(console, told)
        ok = _records(console, here, typed, told) and _ledger(console, here)
        ok = ok and _as_it_must(told, Counter(one["outcome"] for one in _decisions(here)))
    console.print(
        f"\n{time.monotonic() - began:.1f} s; everything that was started has been stopped"
    )
    return 0 if ok and all(one.came_out for one in typed) else 1


def _typed(console: Console, title: str, login: Login, steps: tuple[Step, ...]) -> list[Typed]:
    console.print(f"\n[bold]{title}[/bold]")
    typed = list(at_the_database(login, steps))
    for one in typed:
        console.print(f"\n[cyan]erp=>[/cyan] {escape(one.step.statement)};", soft_wrap=True)
        lines = one.said.text.splitlines()
        if len(lines) > LINES_MAX:
            lines = [*lines[:4], f" … {len(lines) - 6} lines …", *lines[-2:]]
        style = "red" if one.said.is_refused else None
        console.print("\n".join(lines), style=style, markup=False, soft_wrap=True)
        if not one.came_out:
            console.print("[red]that is not what has to come[/red]")
    return typed


def _table(console: Console, told: list[Told]) -> None:
    table = Table("door", "asked by expense-bot for alice", "decided", "why")
    for one in told:
        colour = COLOURS.get(one.outcome, "white")
        table.add_row(one.door, one.asked, f"[{colour}]{one.outcome}[/{colour}]", one.why)
    console.print(table)


def _decisions(here: World) -> list[dict[str, str]]:
    """Return the decisions of the ledger, so that nothing is believed of the clients alone."""
    asked = ("log", "tail", "-n", "999", "--kind", "decision", "--json", "--state", str(here.state))
    return [json.loads(line) for line in here.sidecar(*asked).stdout.splitlines()]


def _as_it_must(told: list[Told], recorded: Counter[str]) -> bool:
    """Return whether each door said both: yes to the agent's work, no to everything else."""
    outcomes = Counter(one.outcome for one in told)
    salaries = [one for one in told if "salar" in one.asked]
    return (
        outcomes == {"allow": 5, "deny": 7, "step_up": 1}
        and recorded == {"allow": 5, "deny": 7 + 3, "step_up": 1, "modify": 4}
        and all(one.outcome == "deny" for one in salaries)
    )


def _records(console: Console, here: World, typed: list[Typed], told: list[Told]) -> bool:
    """Show the record of a masked answer, of a denial on the wire, of one that was asked for."""
    refused = next(one for one in typed if one.said.is_refused)
    asked = next(one for one in told if one.door == "MCP" and one.outcome == "deny")
    for what, text in (
        (EXPENSES, next(one["id"] for one in _decisions(here) if one["outcome"] == "modify")),
        (refused.step.statement, refused.said.text),
        (asked.asked, asked.id),
    ):
        found = UUID.search(text)
        if found is None:
            console.print(f"[red]no decision id came with[/red] {escape(what)}")
            return False
        console.print(f"\n[bold]The record of[/bold] {escape(what)}")
        shown = here.sidecar("log", "show", found.group(), "--state", str(here.state))
        console.print(shown.stdout or shown.stderr, markup=False, soft_wrap=True)
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
