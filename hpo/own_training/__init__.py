"""The user's own training, called with a trial inside a trainer. Imports torch; optuna in one file; never the database.

objective       an Optuna objective, called as study.optimize calls it; a Finished says how it ended
load, inspection    the function, found by the name in the job, and checked before the first trial
remote_trial    what the objective gets: the interface of optuna.Trial, answered by the coordinator
remote_study    trial.study: the study as it was when the trial asked
optuna_objects  trials and distributions as Optuna's own objects, for a script that asks for them
link            questions and answers over the trainer's socket, and the pause that ends a trial
undisturbed     restores what a function may change in the process (folder, signals, random state)
"""
