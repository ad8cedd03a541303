"""A reload swaps one reference: never mixed, never half, never without its record."""

import asyncio
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sidecar import flow
from sidecar.domains import by_protocol
from sidecar.facts.sources import Entities, Revocations, Sources
from sidecar.policy.bundle import Bundle
from sidecar.record.inputs import Secrets
from sidecar.runtime import names
from sidecar.runtime.bundles import Store, built, load_bundle
from sidecar.runtime.metrics import Metrics
from sidecar.runtime.processes.worker import path_of
from sidecar.runtime.reload import Current, EntitiesFile, Reloader, Watch, take_entities
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.errors import ConfigError, PolicyError, RecordError
from sidecar.terms.record import SCHEMA, AdminRecord, AnyRecord, DecisionRecord
from sidecar.terms.words import CallId


class PaperLedger:
    """Records on paper; `is_full` says that there is none left."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.is_full = False

    def known_handles(self) -> dict[str, str]:
        return {}

    async def handles(self, persons) -> dict[str, str]:
        return {person: f"p_{number:022d}" for number, person in enumerate(persons)}

    async def write(self, record: AnyRecord, side=()) -> None:
        # A turn of the loop, as a disk takes: others go on meanwhile.
        await asyncio.sleep(0)
        if self.is_full:
            raise RecordError("no paper")
        self.records.append(record)

    def events(self) -> list[str]:
        return [one.event for one in self.records if isinstance(one, AdminRecord)]

    def details(self) -> list[dict[str, Any]]:
        return [one.detail for one in self.records if isinstance(one, AdminRecord)]


class NobodyRevoked:
    epoch = 0

    def is_revoked(self, party: str) -> bool:
        return False


class Here:
    """The only one that judges: loads what was kept, as a worker does."""

    def __init__(self, store: Store, current: Current) -> None:
        self.store = store
        self.current = current
        self.ready: dict[str, Bundle] = {}

    def __call__(self) -> Bundle:
        return self.current()

    @property
    def bundle(self) -> Bundle:
        return self.current()

    async def prepare(self, bundle: Bundle) -> None:
        self.ready[bundle.digest] = self.store.load(bundle.digest)

    async def swap(self, bundle: Bundle) -> None:
        self.current.swap(self.ready.pop(bundle.digest))


class Trial:
    """A reloader with everything around it."""

    def __init__(self, path: Path, state: Path) -> None:
        self.ledger = PaperLedger()
        self.metrics = Metrics()
        self.store = Store(state)
        self.reloader = Reloader(path, self.store, self.metrics, self.note)

    async def first(self) -> Here:
        return Here(self.store, Current(await self.reloader.first()))

    async def note(self, event: str, detail: dict) -> None:
        record = AdminRecord(SCHEMA, CallId("x"), "2026-01-01T00:00:00.000000Z", event, detail)
        await self.ledger.write(record)

    def reloads(self, result: str) -> float | None:
        return self.metrics.counts.values.get((names.RELOADS, (result,)))


@pytest.fixture
def trial(folder, tmp_path) -> Trial:
    return Trial(folder, tmp_path / "kept")


def call(number: int) -> Call:
    alice = {"type": "user", "id": "alice"}
    payload = {
        "subject": alice,
        "action": {"name": "read"},
        "resource": {"type": "doc", "id": str(number)},
    }
    return Call(
        id=CallId(f"call-{number}"),
        time="2026-01-01T00:00:00.000000Z",
        listener="ask",
        upstream="default",
        protocol="authzen",
        payload=payload,
        identity=Identity(Party("user", "alice")),
    )


async def test_the_first_bundle_is_kept_and_recorded_before_it_is_in_force(trial, tmp_path):
    current = await trial.first()

    assert trial.ledger.events() == ["bundle_activated"]
    assert trial.ledger.details()[0]["digest"] == current.bundle.digest
    assert (tmp_path / "kept" / f"{current.bundle.digest[7:]}.tar").exists()


async def test_a_bundle_that_does_not_load_does_not_start(trial, folder):
    (folder / "policy.yaml").write_text("kind: [")

    with pytest.raises(PolicyError):
        await trial.first()

    assert trial.ledger.events() == ["bundle_refused"]


async def test_a_bundle_without_a_policy_does_not_start(trial, folder):
    (folder / "policy.yaml").unlink()

    with pytest.raises(PolicyError, match="holds no policy"):
        await trial.first()


async def test_a_label_that_is_taken_does_not_start(tmp_path, write_bundle):
    archive, work = tmp_path / "bundle.tar", tmp_path / "work"
    write_bundle(work, 1, label="1.0")
    archive.write_bytes(built(load_bundle(work, by_protocol())))
    await Trial(archive, tmp_path / "kept").reloader.first()
    write_bundle(work, 2, label="1.0")
    archive.write_bytes(built(load_bundle(work, by_protocol())))
    trial = Trial(archive, tmp_path / "kept")

    with pytest.raises(PolicyError, match="stands for"):
        await trial.first()

    assert trial.ledger.events() == ["bundle_refused"]


async def test_a_changed_bundle_is_put_in_force(trial, folder, write_bundle):
    current = await trial.first()
    write_bundle(folder, 2)

    assert await trial.reloader.reload(current)

    assert current().rules[0].id == "rule-2"
    assert trial.ledger.events() == ["bundle_activated"] * 2
    assert trial.reloads("ok") == 1


async def test_an_unchanged_bundle_is_not_activated_again(trial):
    current = await trial.first()
    before = current()

    assert await trial.reloader.reload(current)

    assert current() is before
    assert trial.ledger.events() == ["bundle_activated"]


async def test_a_broken_bundle_leaves_the_last_good_one_and_says_where(trial, folder, caplog):
    current = await trial.first()
    before = current()
    (folder / "policy.yaml").write_text("apiVersion: sidecar/v1\nkind: Policy\nkinds: 1\n")

    assert not await trial.reloader.reload(current)

    assert current() is before
    assert "policy.yaml:" in caplog.text
    assert trial.ledger.events() == ["bundle_activated", "bundle_refused"]
    assert trial.ledger.details()[-1]["first"].startswith("policy.yaml:")
    assert (trial.reloads("ok"), trial.reloads("refused")) == (0, 1)


async def test_a_mistake_of_ours_leaves_the_last_good_bundle(trial, caplog):
    current = await trial.first()
    before = current()

    class Broken(Store):
        def keep(self, bundle):
            raise AssertionError("ours")

    trial.reloader._store = Broken(Path("nowhere"))
    trial.reloader._path.joinpath("bundle.yaml").write_text('{name: trial, version: "9"}')

    assert not await trial.reloader.reload(current)

    assert current() is before
    assert "the sidecar failed while it read the bundle" in caplog.text


async def test_a_bundle_that_cannot_be_recorded_is_not_put_in_force(trial, folder, write_bundle):
    current = await trial.first()
    before = current()
    write_bundle(folder, 2)
    trial.ledger.is_full = True

    assert not await trial.reloader.reload(current)

    assert current() is before


async def test_a_label_that_is_taken_leaves_the_last_good_bundle(tmp_path, write_bundle):
    archive, work = tmp_path / "bundle.tar", tmp_path / "work"
    write_bundle(work, 1, label="1.0")
    archive.write_bytes(built(load_bundle(work, by_protocol())))
    trial = Trial(archive, tmp_path / "kept")
    current = await trial.first()
    before = current()
    write_bundle(work, 2, label="1.0")
    archive.write_bytes(built(load_bundle(work, by_protocol())))

    assert not await trial.reloader.reload(current)

    assert current() is before
    assert "stands for" in trial.ledger.details()[-1]["first"]


async def test_under_load_no_decision_carries_a_version_that_it_was_not_made_by(
    trial, folder, write_bundle, scaled
):
    current = await trial.first()
    facts = Sources({"revoked": Revocations(NobodyRevoked())})
    path = path_of(current, trial.ledger, facts, Secrets.passing(), trial.metrics.spent)
    is_over = asyncio.Event()

    async def ask() -> Counter[str]:
        seen: Counter[str] = Counter()
        while not is_over.is_set():
            answer = await flow.carry(call(0), path)
            (rule,) = answer.decision.rules
            version = str(answer.decision.policy.version)
            assert version.partition(".")[0] == rule.id.removeprefix("rule-")
            assert answer.decision.permitted
            seen[version] += 1
        return seen

    async def change() -> None:
        for number in range(2, scaled(12, 100)):
            write_bundle(folder, number)
            assert await trial.reloader.reload(current)
        is_over.set()

    asking = [asyncio.create_task(ask()) for _ in range(8)]
    await change()
    seen = await asyncio.gather(*asking)

    decided = sum(seen, Counter[str]())
    recorded = Counter(
        str(one.policy.version) for one in trial.ledger.records if isinstance(one, DecisionRecord)
    )
    assert recorded == decided
    assert len(decided) > 2


async def test_a_change_is_taken_when_it_has_stood_still_for_a_look(folder, write_bundle):
    changed = asyncio.Event()
    looks = []

    async def on_change() -> None:
        looks.append(1)
        changed.set()

    watch = Watch(poll_s=0.001)
    watch.add(folder, on_change)
    await watch.look()
    watching = asyncio.create_task(watch.run())
    write_bundle(folder, 2)
    await changed.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert looks == [1]


async def test_a_folder_that_becomes_unreadable_is_told_once(folder):
    changed: asyncio.Queue[int] = asyncio.Queue()
    watch = Watch(poll_s=0.001)
    watch.add(folder, lambda: changed.put(1))
    await watch.look()
    watching = asyncio.create_task(watch.run())
    (folder / "link").symlink_to("/etc/hostname")
    await changed.get()
    (folder / "link").unlink()
    await changed.get()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert changed.empty()


class Facts:
    """An entities file, its table, and the ledger that its changes go to."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.file, self.kept, self.trial = folder / "entities.yaml", folder / "entities", trial
        self.table = Entities(lambda: 0)
        self.entities = EntitiesFile(self.file, self.kept, trial.note, self.put)

    async def put(self, digest: str) -> None:
        take_entities(self.kept, digest, self.file.name, self.table)

    async def role(self) -> Any:
        fact = await self.table.fetch(("user", "alice"))
        return fact and fact.value["role"]

    def says(self, role: str) -> None:
        self.file.write_text(f"user: {{alice: {{role: {role}}}}}")


@pytest.fixture
async def facts(tmp_path, trial) -> Facts:
    """Entities by which alice is an admin."""
    facts = Facts(tmp_path, trial)
    facts.says("admin")
    await facts.entities.first()
    return facts


async def test_entities_that_cannot_be_read_leave_the_last_good_ones(facts, caplog):
    facts.file.write_text("user: [alice]")

    await facts.entities.reload()

    assert await facts.role() == "admin"
    assert "entities.yaml:1:" in caplog.text
    assert facts.trial.ledger.events() == ["entities_activated", "entities_refused"]
    first = facts.trial.ledger.details()[1]["first"]
    assert first == "entities.yaml:1:7: expected a mapping of ids"


async def test_a_facts_revision_can_be_looked_up_later(facts):
    facts.says("guest")
    await facts.entities.reload()
    facts.says("nobody")

    fact = await facts.table.fetch(("user", "alice"))

    assert fact is not None
    kept = facts.kept / f"{fact.revision.removeprefix('sha256:')}.yaml"
    assert kept.read_text() == "user: {alice: {role: guest}}"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert facts.kept.stat().st_mode & 0o777 == 0o700
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == kept.stem
    assert facts.trial.ledger.details()[1] == {"file": "entities.yaml", "digest": fact.revision}


async def test_the_same_entities_are_not_activated_twice(facts):
    facts.says("admin")

    await facts.entities.reload()

    assert facts.trial.ledger.events() == ["entities_activated"]


async def test_entities_are_not_in_force_before_their_record_is(facts, caplog):
    facts.says("guest")
    facts.trial.ledger.is_full = True
    await facts.entities.reload()
    before = await facts.role()
    facts.trial.ledger.is_full = False
    await facts.entities.reload()

    assert before == "admin"
    assert await facts.role() == "guest"
    assert "no paper" in caplog.text


async def test_entities_that_cannot_be_kept_are_not_in_force(facts):
    facts.says("guest")
    shutil.rmtree(facts.kept)
    facts.kept.write_text("not a folder")

    await facts.entities.reload()

    assert await facts.role() == "admin"
    assert facts.trial.ledger.events()[-1] == "entities_refused"


async def test_a_start_on_entities_that_cannot_be_read_is_refused_on_the_record(tmp_path, trial):
    facts = Facts(tmp_path, trial)
    facts.file.write_text("- alice")

    with pytest.raises(ConfigError, match="expected a mapping of types"):
        await facts.entities.first()

    assert trial.ledger.events() == ["entities_refused"]
