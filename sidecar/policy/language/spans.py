"""A piece of source shown to a person: its line, and carets below what is meant."""

from typing import Final

_SHOWN_MAX: Final = 100
# So much stands before the span in a line that is cut.
_LEAD: Final = 40


def pointed(source: str, start: int, end: int) -> str:
    """Return the line in which a span begins, and below it carets under the span.

    Args:
        source: Of the whole expression; a line that is long is cut around the span.
        start: Offset of the first code point.
        end: Behind the last; an empty span, as at the end of the text, has one caret.
    """
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", first)
    last = len(source) if last < 0 else last
    lead = ""
    if last - first > _SHOWN_MAX:
        first, lead = (first, "") if start - first <= _LEAD else (start - _LEAD, "…")
    cut = min(last, first + _SHOWN_MAX)
    line = "".join(c if c.isprintable() else " " for c in source[first:cut])
    carets = "^" * max(1, min(end, cut) - start)
    return f"{lead}{line}{'…' if cut < last else ''}\n{' ' * (len(lead) + start - first)}{carets}"
