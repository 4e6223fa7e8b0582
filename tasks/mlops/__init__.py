"""MLflow as freqd uses it: tracking, registry, audit trail, and what a registered model is."""
