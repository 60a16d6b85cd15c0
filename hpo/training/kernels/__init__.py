"""Faster ways to compute what torch computes, for networks they know."""
