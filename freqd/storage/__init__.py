"""What is kept on disk: content-addressed artifacts, and where databases are."""
