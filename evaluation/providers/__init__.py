"""One file = one way to get an answer: a local model, any OpenAI-compatible server. Replay reads what they stored."""
