"""Painting on a person's own files: what is read, the loop, what is written; `painting_cli.py` is the command."""
