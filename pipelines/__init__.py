"""What runs and has side effects: the command, the recipe, artifacts, stages, training, serving, promotion."""

import evaluation as _evaluation  # noqa: F401  (its first act is to obey --offline, in spawned workers as well)
