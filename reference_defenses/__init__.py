"""The baselines: one defense a file. A file whose name starts with "_" is no defense."""
