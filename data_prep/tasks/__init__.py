"""One file = one kind of instruction row: `rows(record, *, options…) -> Iterator[Row | Dropped]`, pure, one record at a time."""
