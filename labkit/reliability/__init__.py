"""Models on paper: how often things fail, what that costs, and what a message costs.

Pure functions of numbers (or numpy arrays of them), with the source of every formula. Read in this
order: `mtbf` (how often), `young_daly` (how often to save), `goodput` (what is left, by formula and
by simulation), `economics` (in dollars), `published` (beside other people's figures). Then jobs of
which a part goes on: `fleet` (what there is), `life` (which plays it), `replayed` (the published
figures once more), `responses` (four answers to a failure, at every size). On its own,
`communication` (what an all-reduce costs).
"""
