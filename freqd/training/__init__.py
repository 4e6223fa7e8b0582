"""The one loop that trains every model, its optimizers, its pairs of items and its checkpoints."""
