"""How the inner loops are compiled and on how many threads they run."""
