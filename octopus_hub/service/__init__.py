"""See docs/concepts.md for what each package may do."""
