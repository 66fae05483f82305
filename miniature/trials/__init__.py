"""Trial concepts: data sets in a different drawing style, on which the default settings are tried and were not tuned."""
