"""Running a competitor's script as it is: its folder, its arguments, what it prints, and why it failed."""
