"""Rough figures of speed: the product and what one would use instead, measured in turn in the same run. `make bench` runs it.

What lives here: programs that measure, and the load that they put on. What may not: anything that the product needs.
"""
