"""What comparisons, searches, cadences and backfills add to the stages of a run."""
