"""Training one configuration: `fit` and the parts it is made of. Imports torch; never optuna, never the database.

    configuration   a job's settings as one typed record
    device          pick and prepare the device
    parts           the images of a job, kept between jobs
    optimizers, schedules, stopping, average (EMA), step      one piece of the recipe each
    learner         a model with all that changes while it trains
    checkpoint      what is written so that a trial goes on exactly where it was
    fit             the loop
    scoring         loss and accuracy of a split; the test report of the final phase
"""
