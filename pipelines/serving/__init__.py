"""Serving: a loopback server for stand-ins and parity, golden prompts, the checks a server itself does not make."""
