"""The report of a run: figures, tables, sentences, HTML and plain text."""
