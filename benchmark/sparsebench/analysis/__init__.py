"""Statistics without torch: arrays and DataFrames in, intervals, tests and ranks out."""
