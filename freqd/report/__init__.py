"""The report of a run: figures, one self-contained HTML file, and plain text.

Everything about a run reads one thing, its ``RunResult`` (the same that ``freqd run --summary`` writes as JSON).
Importing this package is cheap: matplotlib and jinja2 come with first use.
"""
