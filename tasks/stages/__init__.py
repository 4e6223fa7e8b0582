"""The stages of a run, and what stands beside them: one module a stage."""
