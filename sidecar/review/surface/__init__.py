"""What an agent may reach under a bundle, in every domain: the map of where authority has gaps.

```
 catalogues, rules ─things─▶ reach: each rule on each thing, as far as it can be known ─▶ page
```
A thing is a resource or a pattern of resources with a class of action. Of a call nothing is known
but who makes it and what it is done to; whatever else a rule reads stays as a condition, in the
rule's own words. Nothing is taken for allowed that a rule might still refuse.
"""
