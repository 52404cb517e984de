"""Turns what HRIS, recognition, review and issue tools say was done into achievements on the employee's log."""
