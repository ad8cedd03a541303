"""Bounds on an expression, each with its reason."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one expression may be; whoever parses hands it in.

    Attributes:
        characters: Of the source. A condition longer than this is generated and belongs in params.
        depth: Of brackets in the text and of nodes in the tree. Everything behind the parser
            recurses over the tree with a few frames a level, and Python gives a thousand in all;
            the specification asks for 32.
    """

    characters: int = 8_192
    depth: int = 100
