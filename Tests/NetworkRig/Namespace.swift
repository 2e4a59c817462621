// A network namespace: a network stack of the kernel's, apart from all others, in which programs and this process can act.

import CMartlet
import Glibc

/// A namespace that lives as long as this value. Interfaces in it go with it; a veth takes its other end along.
public final class Namespace: Sendable {
    public let name: String

    /// A namespace with a loopback interface that is up.
    public init() throws {
        name = Rig.uniqueName()
        try Program.run("ip", "netns", "add", name)
        try ip("link", "set", "lo", "up")
    }

    deinit { _ = try? Program.run("ip", "netns", "delete", name) }

    /// ip(8) in this namespace.
    public func ip(_ arguments: String...) throws { try Program.run(["ip", "-n", name] + arguments) }

    /// Starts a program in this namespace.
    public func start(_ arguments: String...) throws -> Program { try start(arguments) }

    public func start(_ arguments: [String]) throws -> Program {
        try Program(["ip", "netns", "exec", name] + arguments)
    }

    /// Runs a program in this namespace to its end. What it exits with is for the caller to judge.
    public func run(_ arguments: String..., within seconds: Int = 60) throws -> Program.Result {
        try start(arguments).ends(within: seconds)
    }

    /// Sets a variable of sysctl(8), of `net.` mostly, which each namespace has of its own.
    public func set(_ variable: String, to value: String) throws {
        try Program.run("ip", "netns", "exec", name, "sysctl", "-q", "-w", "\(variable)=\(value)")
    }

    /// Runs `body` on a thread that is in this namespace: sockets and devices opened there belong to it for good.
    public func inside<R>(_ body: @escaping () throws -> R) throws -> R {
        let path = "/run/netns/\(name)"
        let work = Inside {
            let error = unsafe martlet_thread_enter_namespace(path)
            guard error == 0 else { throw RigFailure("setns to \(path): errno \(-error)") }
            return try body()
        }
        unsafe sem_init(&work.ended, 0, 0)
        let argument = unsafe Unmanaged.passRetained(work)
        let error = unsafe martlet_thread_start(
            { unsafe Unmanaged<Inside>.fromOpaque($0!).takeRetainedValue().run() }, argument.toOpaque())
        guard error == 0 else { throw RigFailure("no thread: \(error)") }
        while unsafe sem_wait(&work.ended) != 0 {}
        return try work.result!.get() as! R
    }
}

private final class Inside: @unchecked Sendable {
    let body: () throws -> Any
    var result: Result<Any, any Error>?
    var ended = sem_t()

    init(_ body: @escaping () throws -> Any) { self.body = body }

    func run() {
        result = Result { try body() }
        unsafe sem_post(&ended)
    }
}
