"""Model files and what is built from them: read only inside the sandbox."""
