"""The subcommands of `curfew`, a module for each family. They ask, print and exit; what they ask lives beside this package."""
