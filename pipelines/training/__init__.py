"""The training path: base model, exactness checks before the first step, the trainer."""
