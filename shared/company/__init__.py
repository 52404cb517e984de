"""A made-up company for the demo, the tests and the benchmarks: its people, their year, and one autumn's story."""
