"""Turns what sponsors say (endorsed, withdrawn, declined, snoozed) into events on the employee's log."""
