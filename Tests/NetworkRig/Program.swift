// A program that runs beside the test, as a peer or as a tool: posix_spawn(3), with what it writes in two pipes.

public import Glibc

/// A running program. It is killed when the value goes away, so that a test that fails leaves nobody behind.
///
/// What it writes is taken from its pipes by whoever waits for something. A value is used by one task at a time.
public final class Program: @unchecked Sendable {
    public let arguments: [String]
    public let process: pid_t
    private var pipes: [Int32]
    private var written: [[UInt8]] = [[], []]
    private var exitStatus: Int32?

    /// How a program ended.
    public struct Result: Sendable {
        /// The exit status, or 128 and the number of the signal that ended it.
        public let status: Int32
        public let output: String
        public let errors: String
    }

    /// Starts a program that is found as a shell would find it.
    public init(_ arguments: [String]) throws {
        self.arguments = arguments
        guard let path = Program.path(of: arguments[0]) else { throw RigFailure("\(arguments[0]) is not installed") }
        var output: [2 of Int32] = [-1, -1]
        var errors: [2 of Int32] = [-1, -1]
        guard Program.makePipe(&output), Program.makePipe(&errors) else { throw RigFailure("no pipe: errno \(errno)") }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output[1], 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors[1], 2)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // Threads of the runtime block signals, and a child would inherit that.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var pid: pid_t = 0
        var copies: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe copies.indices { unsafe free(copies[index]) } }
        let error = unsafe posix_spawn(&pid, path, &actions, &attributes, &copies, environ)
        close(output[1])
        close(errors[1])
        pipes = [output[0], errors[0]]
        process = pid
        if error != 0 {
            exitStatus = 127
            throw RigFailure("\(arguments[0]) does not start: errno \(error)")
        }
    }

    deinit {
        for pipe in pipes where pipe >= 0 { close(pipe) }
        if exitStatus == nil {
            kill(process, SIGKILL)
            _ = waitpid(process, nil, 0)
        }
    }

    private static func makePipe(_ ends: inout [2 of Int32]) -> Bool {
        var both: [Int32] = [-1, -1]
        guard unsafe pipe(&both) == 0 else { return false }
        for end in both { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        ends = [both[0], both[1]]
        return true
    }

    static func path(of name: String) -> String? {
        if name.contains("/") { return unsafe access(name, X_OK) == 0 ? name : nil }
        let folders = (Environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        return folders.split(separator: ":").map { "\($0)/\(name)" }.first { unsafe access($0, X_OK) == 0 }
    }

    // MARK: Waiting

    /// What it has written to its standard output until it was last waited for.
    public var output: String { String(decoding: written[0], as: UTF8.self) }
    /// What it has written to its standard error until it was last waited for.
    public var errors: String { String(decoding: written[1], as: UTF8.self) }

    /// Waits until the program has written this, to either of its two outputs.
    public func writes(_ text: String, within seconds: Int = 20) throws {
        let deadline = Program.now + Int64(seconds) * 1000
        while !output.contains(text), !errors.contains(text) {
            guard take(until: deadline) else {
                throw RigFailure("\(arguments) did not write '\(text)'. It wrote: \(output)\(errors)")
            }
        }
    }

    /// Waits until the program has ended, and kills it if it does not.
    public func ends(within seconds: Int = 30) throws -> Result {
        let deadline = Program.now + Int64(seconds) * 1000
        while exitStatus == nil {
            if take(until: deadline) { continue }
            if pipes != [-1, -1] {
                kill(process, SIGKILL)
                throw RigFailure("\(arguments) had not ended after \(seconds) s. It wrote: \(output)\(errors)")
            }
            reap()
        }
        return Result(status: exitStatus!, output: output, errors: errors)
    }

    /// Whether it has ended, as far as that can be seen without waiting.
    public var hasEnded: Bool {
        while take(until: Program.now + 1) {}
        return exitStatus != nil || pipes == [-1, -1]
    }

    /// Sends it a signal, SIGINT unless said otherwise.
    public func signal(_ number: Int32 = SIGINT) { if exitStatus == nil { kill(process, number) } }

    /// Takes what it has written, and waits until there is some. False if it has closed both pipes, or the time is up.
    private func take(until deadline: Int64) -> Bool {
        var waits = pipes.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        if pipes == [-1, -1] { return false }
        let left = deadline - Program.now
        guard left > 0, unsafe poll(&waits, 2, Int32(left)) > 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        for index in 0..<2 where waits[index].revents != 0 {
            let count = unsafe read(pipes[index], &buffer, buffer.count)
            if count > 0 {
                written[index] += buffer[..<count]
            } else {
                close(pipes[index])
                pipes[index] = -1
            }
        }
        return true
    }

    private func reap() {
        var status: Int32 = 0
        _ = unsafe waitpid(process, &status, 0)
        exitStatus = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    private static var now: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    // MARK: Short ones

    /// Runs a program to its end. Throws if it fails, with what it has said.
    @discardableResult
    public static func run(_ arguments: String..., within seconds: Int = 30) throws -> Result {
        try run(arguments, within: seconds)
    }

    @discardableResult
    public static func run(_ arguments: [String], within seconds: Int = 30) throws -> Result {
        let result = try Program(arguments).ends(within: seconds)
        guard result.status == 0 else {
            throw RigFailure("\(arguments.joined(separator: " ")): \(result.errors)\(result.output)")
        }
        return result
    }
}
