"""Lets EXPLAIN tell how a rewritten statement would run, and nothing of rows that are not shown.

A plan is told with `COSTS OFF`: what PostgreSQL expects of a condition it knows from all rows, the
hidden ones too. EXPLAIN ANALYZE counts what a filter took away (`Rows Removed by Filter`), with an
index even for a single value, so under a filter or a size of groups it is refused. Under masks
alone it tells what a count of the statement's own would.

What remains: a plan shows the rules' SQL with its values, to whom they are due; and which plan is
taken depends on how many rows there are.
"""

from typing import Final

from sidecar.domains.data.enforce.rewriting.text import Edit, Text, unsupported

_WORDS: Final = ("analyze", "analyse", "verbose")


def without_numbers(text: Text, *, hides_rows: bool) -> Edit:
    """Return the edit that leaves the numbers out of a plan.

    Args:
        text: The EXPLAIN.
        hides_rows: Not all rows of its tables are shown.

    Raises:
        EnforceError: It would count rows that are not shown.
    """
    _, node = text.root
    asked = {option["DefElem"]["defname"] for option in node.get("options", ())}
    if hides_rows and "analyze" in asked:
        raise unsupported("EXPLAIN ANALYZE counts the rows that a filter hides")
    at = 1
    while text.is_word(at, *_WORDS):
        at += 1
    if at == 1 and asked:
        # The last of two options of one name counts.
        place = text.start_of(text.closing[1])
        return Edit(place, place, ", COSTS OFF", "")
    words = [text.token(word).text.upper() for word in range(1, at)]
    said = f" ({', '.join([*words, 'COSTS OFF'])})"
    return Edit(text.end_of(0), text.end_of(at - 1), said, said)
