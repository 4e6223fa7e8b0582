"""The report of a run: figures, one self-contained HTML file, and plain text.

Everything here reads one thing, the run's summary (the same JSON that ``freqd run --summary`` writes), and
holds up when parts of it are missing. Importing this package is cheap: matplotlib and jinja2 come with first use.
"""
