"""What runs need around them: working directory, servers, signals, progress, errors, cleaning."""
