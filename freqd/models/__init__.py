"""Models: what is scored with, without what trains it."""
