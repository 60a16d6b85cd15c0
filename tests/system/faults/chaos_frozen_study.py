"""mlp_digits with trials that are put down and taken up again all the time; small batches make epochs long enough to be
interrupted."""

from dataclasses import replace

from hpo import FreezeThaw, Int
from hpo.studies.mlp_digits import study as mlp_digits

study = replace(
    mlp_digits,
    space={**mlp_digits.rows.rows, "batch_size": Int(2, 4)},
    baseline={**mlp_digits.baseline, "batch_size": 4},
    epochs=60,
    early_stopping=None,
    search=FreezeThaw(),
)
