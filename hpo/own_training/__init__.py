"""The user's own functions, called inside a trainer. Imports torch; optuna in one file; never the database.

objective       an Optuna objective, called as study.optimize calls it; a Finished says how it ended
training        a train(run) of the user's own, likewise
inspection      the function in the job, checked before the first trial
remote_trial    what an objective gets: the interface of optuna.Trial, answered by the coordinator
remote_study    trial.study: the study as it was when the trial asked
optuna_objects  trials and distributions as Optuna's own objects, for a script that asks for them
run             what train(run) gets: epochs, reports, a loader
keeping         what it gave to resume(), in checkpoints that are no pickle
loader          a DataLoader whose order follows from seed and epoch
link            questions and answers over the trainer's socket, and the pause that ends a trial
undisturbed     restores what a function may change in the process (folder, signals, random state)
"""
