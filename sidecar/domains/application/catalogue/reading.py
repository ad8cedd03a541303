"""Reading one catalogue file field by field: what is wrong is collected with its position."""

from collections.abc import Callable, Iterator

from sidecar.terms.call import Json
from sidecar.terms.words import CLASSES, ActionClass

# `where("routes", 3, "path")` is `file:line:column`.
Where = Callable[..., str]
Step = str | int


class Reading:
    """One file (or a file that it names) being read; `problems` fills as it goes."""

    def __init__(self, where: Where, problems: list[str]) -> None:
        self.where = where
        self.problems = problems

    def wrong(self, text: str, *path: Step) -> None:
        """Note a problem at `path`."""
        self.problems.append(f"{self.where(*path)}: {text}")

    def only(self, value: dict[str, Json], fields: tuple[str, ...], *path: Step) -> None:
        """Note every field of `value` that is not one of `fields`."""
        for name in value:
            if name not in fields:
                offered = ", ".join(f"`{one}`" for one in fields)
                self.wrong(f"unknown field `{name}`; expected one of {offered}", *path, name)

    def mapping(self, value: Json, *path: Step) -> dict[str, Json]:
        """Return `value` as a mapping; absent is an empty one."""
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.wrong("expected a mapping", *path)
        return {}

    def items(self, value: Json, *path: Step) -> Iterator[tuple[int, dict[str, Json]]]:
        """Yield the mappings of a list with their places; absent is an empty list."""
        if value is None:
            return
        if not isinstance(value, list):
            self.wrong("expected a list", *path)
            return
        for place, item in enumerate(value):
            if isinstance(item, dict):
                yield place, item
            else:
                self.wrong("expected a mapping", *path, place)

    def text(self, value: Json, *path: Step) -> str | None:
        """Return `value` if it is a string with something in it; absent is None."""
        if value is None or (isinstance(value, str) and value):
            return value
        self.wrong("expected a string", *path)
        return None

    def texts(self, value: Json, *path: Step) -> tuple[str, ...]:
        """Return `value` as strings; absent is none of them."""
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
            return tuple(value)
        self.wrong("expected a list of strings", *path)
        return ()

    def action_class(self, value: Json, *path: Step) -> ActionClass | None:
        """Return `value` if it is an action class; absent is None."""
        for known in CLASSES:
            if value == known:
                return known  # type: ignore[return-value]  # CLASSES holds exactly ActionClass.
        if value is not None:
            self.wrong(f"expected a class, one of {', '.join(CLASSES)}", *path)
        return None
