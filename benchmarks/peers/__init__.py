"""The engine beside what others use for the same work: equal losses first, then speed. See docs/benchmarks.md."""
