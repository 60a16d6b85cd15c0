"""The user's own training, called with a trial inside a trainer. Imports torch; optuna in one file; never the database.

objective       an Optuna objective, called as study.optimize calls it: how it ends is told as a Finished
load, inspection    the function, found by the name that the job gives it, and looked at before the first trial
remote_trial    what the objective gets: the interface of optuna.Trial, answered by the coordinator
remote_study    trial.study: the study as it stood when the trial asked
optuna_objects  trials and distributions as Optuna's own objects, for a script that asks for them
link            questions and answers over the trainer's socket, and the pause that ends a trial
undisturbed     what a function may change of the process (folder, signals, random state), put back
"""
