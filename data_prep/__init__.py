"""Text to rows: readers of documents and tickets, cleaning, redaction, duplicates, split, tasks. No torch, no network."""
