"""Training one configuration: `fit` and the parts it is made of. Imports torch; never optuna, never the database.

fit, trial_run          a trial: folds, epochs, when to stop, what it answers
train_state             a model with all that changes while it trains
step, optimizers, schedules, average, augmenting     one training step and what it is composed of
fast_paths, kernels, graphs     the same step sooner: C kernels, recorded CUDA graphs
train_val_split         the images of a job, kept between jobs
scoring, stopping, running_metrics, network_metrics     what an epoch or a network is scored by, and when to end
progress, checkpoint    how far a trial has come, and how that is written down
final                   the test report of hpo evaluate
preflight               what a study costs and whether it trains, before a trial is spent
configuration, device, outcomes     a job's settings, its device, and what an exception means
"""
