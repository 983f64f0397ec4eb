"""What runs and has side effects: the command, the recipe, artifacts, stages, training, serving, promotion."""
