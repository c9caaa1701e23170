"""The seeded simulation: a whole network and a whole Curfew in virtual time, held against the truth."""
