"""Records that are alike but for id, time and digest: what they have in common goes over once.

So it does where the calls' texts differ in literals: their digest is one value more, in a hole.

A worker gives a stencil a number (`wire.Outline`) before the first record of it, and from then on
sends the three values alone. The recorder looks at the whole record twice with values that stand
for all others (`outlines.py`), and after that at the values (`values.py`; where calls differ in
their text alone its digest is one as well): each has one form, of
letters, digits and a few marks, so wherever one of them is a text, each of them is, and ends where
it ends.

Numbers are of one connection: who connects anew gives them anew (`numbers.py`). When all are given,
that which was not asked for the longest is given again. When a person is forgotten, both ends
forget them.
"""
