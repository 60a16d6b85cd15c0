"""Side-by-side programs; README.md says how to run each, records/ what they printed."""
