"""Jobs: parameters, files, runs."""
