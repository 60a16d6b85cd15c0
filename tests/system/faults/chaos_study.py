"""mlp_digits with trials that are long enough to be interrupted: a hundred epochs, none of them cut short."""

from dataclasses import replace

from hpo import NoPruner
from hpo.studies.mlp_digits import study as mlp_digits

study = replace(mlp_digits, epochs=100, early_stopping=None, pruner=NoPruner())
