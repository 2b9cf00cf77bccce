"""Painting with the gradients of a network: what all tasks share, and a file for each."""
