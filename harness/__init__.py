"""The evaluator of BadNet Harness: blind exams, isolation, outcomes, score and record."""

__version__ = "0.1.0"
