"""A made-up company for the demo, the tests and the benchmarks: its people, their year, and one autumn's story.

`population` makes the streams, of any size; `scenario` tells the autumn in phases and says what must have come of it;
`python -m shared.company` writes the streams to stdout.
"""
