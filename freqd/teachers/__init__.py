"""Teachers: trained here, or external embeddings."""
