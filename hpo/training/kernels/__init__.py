"""Faster ways to compute what torch computes, for certain kinds of networks."""
