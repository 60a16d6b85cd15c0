"""Training one configuration: `fit` and the parts it is made of. Imports torch; never optuna, never the database.

fit, trial_run          a trial: folds, epochs, when to stop, its result
train_state             a model with everything that changes while it trains
step, optimizers, schedules, average, augmenting     one training step and its parts
fast_paths, kernels, graphs, backlog     the same step, faster: C kernels, recorded CUDA graphs, how far ahead they run
train_val_split         the images of a job, kept between jobs
scoring, stopping, running_metrics, network_metrics     how an epoch or a network is scored, and when to stop
progress, checkpoint    how far a trial has come, and how that is saved
final                   the test report of hpo evaluate
preflight               what a study costs and whether it trains, before its first trial
configuration, device, outcomes, cuda_errors     a job's settings, its device, and what an exception means
"""
