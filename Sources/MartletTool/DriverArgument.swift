// `--driver` on the command line. A file of its own, because a conformance of a public type to a public protocol wants both
// modules imported publicly.

public import ArgumentParser
public import Martlet

extension DriverChoice: ExpressibleByArgument {}
