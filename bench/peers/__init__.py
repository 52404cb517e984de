"""The peers, each a program as its own users would write it; none of them knows that it is measured."""
