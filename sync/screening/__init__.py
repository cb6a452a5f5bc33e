"""Screening rules: the evaluator, the rule file and its county copies. Pure; the same on the van and at the county."""
