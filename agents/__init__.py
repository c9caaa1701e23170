"""The hands: sockets, Kafka, Faust, HTTP and the command line. They move data; what to do is decided in `streams`."""

from agents.compiled import use

use()  # before anything of the core is imported
