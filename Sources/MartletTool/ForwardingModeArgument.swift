// `--mode` on the command line. A file of its own, as `DriverArgument.swift` says.

public import ArgumentParser
public import Martlet

extension ForwardingMode: ExpressibleByArgument {}
