"""The studies that come along: one file each, found by its name (`hpo studies` lists them)."""
