"""Teachers: trained here or brought from elsewhere."""
