// The conformance suite: what each event does to a connection, as executable checks that run against any transport.

public import Martlet
