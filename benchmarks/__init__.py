"""What the harness costs: budgets beside figures, measured against a plain baseline in the same run (`make bench`)."""
