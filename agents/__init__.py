"""The hands: sockets, Kafka, Faust, HTTP and the command line. They move data; what to do is decided in `streams`."""
