"""One file = one reader of documents or tickets. A reader has

- `KIND`: "ticket" or "document";
- `read(path, tally, *, options…) -> Iterator[Record]`: streams; everything it takes in is counted in the tally, everything
  it leaves out has a reason there; raises SourceError where the whole input is unusable;
- `recognise(peek) -> dict | None`: the options to read a file with that begins like this; None for a foreign one.
"""
