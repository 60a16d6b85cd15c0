"""The parts of benchmarks.search_methods: problems with known learning curves, ways to search them, a simulator."""
