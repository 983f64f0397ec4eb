"""One file = one kind of instruction row. A task has

- `rows(record, library, *, options…) -> Iterator[Row | Dropped]`: pure, one record at a time; `library` holds the documents;
- where a teacher may help, `questions(record, library, *, options…) -> Iterator[Question]` with the same options, and
  `accept(question, answer, record, library, *, options…) -> Iterator[Row | Dropped]`, which trusts nothing the teacher says.
"""
