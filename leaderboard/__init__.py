"""Ranks records and shows the ranking."""
