"""Looking inside networks: what their gradients point at."""
