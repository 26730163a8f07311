"""The pages and files that ``tools/generate.py`` writes: one module each, every function pure."""
