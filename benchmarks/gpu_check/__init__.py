"""`make gpu-check`: does hpo's CUDA path do what its documents say, and how fast, on the GPU of this machine?

At most nine minutes, no network, the most valuable first; nothing stops it. README.md beside this file says how.
"""
