"""A program of the user's own as a trial: run, listened to, ended with all that it started. Neither torch nor database.

run            one trial: what the program says is reported, and how it ends is told as a Finished
inspection     whether the program is there, looked at before the first trial
program        the process, and the signals that it gets
descendants    every process that it started, wherever it has gone, and their end
lines, values  what it writes, line by line, and the metrics in that
history        what was reported, for the attempt that goes on
output         what it prints, kept within bounds
memory         whether it ran out of memory
"""
