"""The studies that come with hpo: one file each, found by its name (`hpo studies` lists them)."""

if __name__ != "hpo.studies":
    raise ImportError("hpo's own studies package is imported as hpo.studies", name=__name__)
