"""One file = one reader of documents or tickets: `read(path, *, options…, drop) -> Iterator[Record]`."""
