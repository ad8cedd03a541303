"""A worker's side: `client` writes, by a `link`; `late` is owed, `leading` is ahead."""
