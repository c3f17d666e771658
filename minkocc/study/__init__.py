"""Studies: many runs of many recipes, made by the tools themselves, and one table of them."""
