"""Run records: what ran, with what, what came out; and running it again."""
