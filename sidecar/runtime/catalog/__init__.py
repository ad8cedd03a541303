"""Keeps the catalogue of a database true: read from it, merged with what people wrote, compared.

```
PostgreSQL ─read▶ Database ─fresh▶ spec ─merge▶ spec with labels ─write▶ catalog/*.yaml
                                   └ drift: the same for a serving sidecar, every few minutes
```

Structure is the database's, meaning is people's: types, kinds, parents and lineage are written
anew each time; labels, comments and what functions touch are kept.
"""
