"""An honest result: retrain what a search found, with fresh seeds, and read the test split once per run.

candidates.py        which configurations      runs.py, run_scheduler.py   their runs, on the slots of this host
statistics.py        means, intervals, tests   document.py                 everything about an evaluation, typed
evaluate.py          the whole evaluation      winner_files.py             the winner's folder
open_evaluation.py   the stored study
"""
