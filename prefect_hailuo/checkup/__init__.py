"""What is right and what is wrong with this machine's setting, and the cure: `examine` says it.

A room for each thing that is looked at. No check spends anything, or shows a secret.
"""
