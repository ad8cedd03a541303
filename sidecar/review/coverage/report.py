"""What a run covers of a bundle: in numbers, as lines for a person, as JSON, and as lcov.

In lcov a rule is a function, a line is covered where anything that begins on it was shown, and
every site that is no rule is a branch of its line: block 0, numbered in the order of the text, so
that several clauses on one line are told apart.

Source: https://github.com/linux-test-project/lcov, man/geninfo.1, FILES.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from sidecar.policy.bundle import Bundle
from sidecar.review.coverage.collect import Coverage
from sidecar.review.coverage.sites import KINDS, Key, Site, sites_of
from sidecar.review.placing import placed
from sidecar.terms.call import Json

_PLURAL: Final = {
    "rule": "rules",
    "branch": "branches",
    "match": "match entries",
    "obligation": "obligations",
}


class Counted(msgspec.Struct, frozen=True):
    """How much of one kind is covered."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """Return how many of a hundred are covered; all of nothing is covered."""
        return 100.0 * self.covered / self.total if self.total else 100.0

    @property
    def percent_shown(self) -> float:
        """Return the percentage to one digit, never 100 where something is missing."""
        return int(self.percent * 10) / 10


class Report(msgspec.Struct, frozen=True):
    """The sites that are looked at, and how often each was shown."""

    sites: tuple[Site, ...]
    hits: Mapping[Key, int]

    @property
    def whole(self) -> Counted:
        """Return how much of everything is covered."""
        return self._counted(self.sites)

    @property
    def missing(self) -> list[Site]:
        """Return the sites that no cell showed."""
        return [site for site in self.sites if not self.hits.get(site.key)]

    def by_kind(self) -> dict[str, Counted]:
        """Return how much of each kind is covered."""
        return {
            _PLURAL[kind]: self._counted([site for site in self.sites if site.kind == kind])
            for kind in KINDS
        }

    def _counted(self, sites: Sequence[Site]) -> Counted:
        return Counted(sum(1 for site in sites if self.hits.get(site.key)), len(sites))


def report_of(bundle: Bundle, coverage: Coverage, before: Bundle | None = None) -> Report:
    """Return what a run covers.

    Args:
        bundle: Whose tests ran.
        coverage: As counted.
        before: Look only at what is new or changed since this one: rules of another digest, and
            what their policies say for all of them.
    """
    sites = sites_of(bundle)
    if before is not None:
        known = {(rule.key, rule.digest) for rule in before.rules}
        changed = {rule.key for rule in bundle.rules if (rule.key, rule.digest) not in known}
        changed |= {f"{key.partition('/')[0]}/" for key in changed}
        sites = [site for site in sites if site.rule in changed]
    return Report(tuple(sites), coverage.hits)


def lines(report: Report) -> Iterator[str]:
    """Yield the coverage for a person: the numbers, then each site that is missing."""
    told = ", ".join(f"{name} {one.covered}/{one.total}" for name, one in report.by_kind().items())
    yield f"coverage {report.whole.percent_shown:.1f} %: {told}"
    for site in report.missing:
        yield f"  {site.file}:{site.line}:{site.column}: {site.sentence}"


def as_json(report: Report) -> dict[str, Json]:
    """Return the coverage whole: numbers, and every site by file with how often it was shown."""
    files: dict[str, list[Json]] = {}
    for site in report.sites:
        files.setdefault(site.file, []).append(
            {
                "kind": site.kind,
                "rule": site.rule,
                "text": site.text,
                "side": site.side,
                "line": site.line,
                "column": site.column,
                "hits": report.hits.get(site.key, 0),
            }
        )
    return {
        "percent": report.whole.percent_shown,
        **{name.replace(" ", "_"): _shown(one) for name, one in report.by_kind().items()},
        "files": files,
    }


def _shown(one: Counted) -> dict[str, Json]:
    return {"covered": one.covered, "total": one.total, "percent": one.percent_shown}


def lcov(report: Report, folder: str | None = None) -> str:
    """Return the coverage as one lcov trace file.

    Args:
        report: What there is to show, and what was.
        folder: That of the bundle, below the working folder; see `placing.within`.
    """
    files: dict[str, list[Site]] = {}
    for site in report.sites:
        files.setdefault(site.file, []).append(site)
    return "".join(
        f"{line}\n"
        for file, sites in files.items()
        for line in _file(placed(file, folder), sites, report.hits)
    )


def _file(file: str, sites: list[Site], hits: Mapping[Key, int]) -> Iterator[str]:
    rules = [site for site in sites if site.kind == "rule"]
    yield "TN:"
    yield f"SF:{file}"
    yield from (f"FN:{site.line},{site.rule}" for site in rules)
    yield from (f"FNDA:{hits.get(site.key, 0)},{site.rule}" for site in rules)
    yield f"FNF:{len(rules)}"
    yield f"FNH:{sum(1 for site in rules if hits.get(site.key))}"
    on_line: dict[int, list[Site]] = {}
    for site in sites:
        on_line.setdefault(site.line, []).append(site)
    taken = 0
    branches = 0
    for line, found in on_line.items():
        for number, site in enumerate(one for one in found if one.kind != "rule"):
            count = hits.get(site.key, 0)
            branches += 1
            taken += bool(count)
            # A dash says that the line was never run, so that the branch could not be.
            yield f"BRDA:{line},0,{number},{count if _is_run(found, hits) else '-'}"
    yield f"BRF:{branches}"
    yield f"BRH:{taken}"
    counts = {line: max(hits.get(s.key, 0) for s in found) for line, found in on_line.items()}
    yield from (f"DA:{line},{count}" for line, count in counts.items())
    yield f"LF:{len(counts)}"
    yield f"LH:{sum(1 for count in counts.values() if count)}"
    yield "end_of_record"


def _is_run(sites: list[Site], hits: Mapping[Key, int]) -> bool:
    return any(hits.get(site.key) for site in sites)
