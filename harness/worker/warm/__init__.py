"""The process that imports a script's libraries once and then runs the script for image after image."""
