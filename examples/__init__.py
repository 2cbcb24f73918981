"""Examples: scripts to run, and the settings of the cases that they and the benchmarks share."""
