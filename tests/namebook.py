"""Handles for ledgers that are no more than a list: the first person is `p_` and 22 zeros."""

from collections.abc import Collection, Mapping


class Namebook:
    """What a ledger knows of persons."""

    def known_handles(self) -> Mapping[str, str]:
        return self._named()

    async def handles(self, persons: Collection[str]) -> Mapping[str, str]:
        named = self._named()
        for person in persons:
            named.setdefault(person, f"p_{len(named):022d}")
        return named

    def _named(self) -> dict[str, str]:
        found: dict[str, str] = self.__dict__.setdefault("named", {})
        return found
