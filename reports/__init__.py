"""What runs left on disk, made into tables and pages; needs no torch."""
