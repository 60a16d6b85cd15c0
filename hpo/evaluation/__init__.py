"""The honest best: retrain what a search found, with fresh seeds, and read the test split once per run.

candidates.py   which configurations       runs.py, conductor.py       their runs, on the slots of this host
statistics.py   means, intervals, tests    document.py                 everything about an evaluation as one document
evaluate.py     all of it together         winner.py                   the winner's files
"""
