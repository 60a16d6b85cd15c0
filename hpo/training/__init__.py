"""Training one configuration: `fit` and the parts it is made of. Imports torch; never optuna, never the database.

fit             the loop
trial           one job under way: the parts of the loop, and what is known about the trial
learner         a model with all that changes while it trains
step            one training step, composed from optimizers, augmenting, average (EMA)
schedules, stopping       the learning rate; when to end
scoring, final            loss and accuracy of a split; the test report
progress, checkpoint      how far a trial has come, and how that is written down
parts           the images of a job, kept between jobs
configuration, device, outcomes     a job's settings, its device, and what an exception means
"""
