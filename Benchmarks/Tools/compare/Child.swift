// Child processes: servers that say when they are ready and run until they are told to stop, and the load generator,
// whose output is its result.

import Foundation
import Glibc

struct ChildError: Error, CustomStringConvertible {
    var description: String
}

/// The executables that were built beside this one.
enum Siblings {
    static let directory: URL = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent()
    }()

    static func exists(_ name: String) -> Bool {
        FileManager.default.isExecutableFile(atPath: directory.appendingPathComponent(name).path)
    }

    static func process(_ name: String, _ arguments: [String], in namespace: String? = nil) -> Process {
        process(at: directory.appendingPathComponent(name).path, arguments, in: namespace)
    }

    /// A program that has not been started, in a network namespace if one is named.
    static func process(at path: String, _ arguments: [String], in namespace: String?) -> Process {
        let process = Process()
        let command = (namespace.map { ["/usr/bin/env", "ip", "netns", "exec", $0] } ?? []) + [path] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.standardInput = FileHandle.nullDevice
        return process
    }

    /// Runs a program to its end, and returns what it has printed.
    static func output(
        _ name: String, _ arguments: [String], in namespace: String? = nil, statuses: [Int32] = [0]
    ) throws -> Data {
        let process = process(name, arguments, in: namespace)
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard statuses.contains(process.terminationStatus) else {
            let command = ([name] + arguments).joined(separator: " ")
            throw ChildError(description: "\(command) ended with status \(process.terminationStatus)")
        }
        return bytes
    }
}

/// A server under test. Stop it, or it outlives the comparison.
struct RunningServer {
    let port: Int
    private let process: Process
    private let output: Pipe

    var identifier: Int32 {
        process.processIdentifier
    }

    init(_ server: Server, port: Int, placement: Scenario.Placement) throws {
        let cpu = placement == .pinned ? ["--cpu", "0"] : []
        let process = Siblings.process(server.executable, ["--port", "\(port)"] + cpu + server.arguments)
        process.environment = ProcessInfo.processInfo.environment.merging(server.environment) { $1 }
        try self.init(process, port: port)
    }

    /// Starts a server, and returns as soon as it says that it listens.
    init(_ process: Process, port: Int) throws {
        self.process = process
        self.port = port
        output = Pipe()
        process.standardOutput = output
        try process.run()
        do {
            try waitUntilReady(deadline: Date(timeIntervalSinceNow: 10))
        } catch {
            stop()
            throw error
        }
    }

    private func waitUntilReady(deadline: Date) throws {
        let descriptor = output.fileHandleForReading.fileDescriptor
        var text = ""
        while !text.contains("\n") {
            let patience = deadline.timeIntervalSinceNow
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard patience > 0, poll(&waiting, 1, Int32(patience * 1000) + 1) > 0 else {
                throw ChildError(description: "the server did not say that it listens")
            }
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else {
                throw ChildError(description: "the server ended before it listened")
            }
            text += String(decoding: bytes, as: UTF8.self)
        }
        guard text.hasPrefix("listening on ") else {
            throw ChildError(description: "the server said: \(text)")
        }
    }

    /// Asks it to end, and after five seconds makes it.
    func stop() {
        guard process.isRunning else { return }
        process.terminate()
        let deadline = Date(timeIntervalSinceNow: 5)
        while process.isRunning, deadline.timeIntervalSinceNow > 0 {
            usleep(2000)
        }
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
        }
        process.waitUntilExit()
    }

    var hasEnded: Bool {
        !process.isRunning
    }
}

enum Load {
    static func run(_ arguments: [String]) throws -> Measurement {
        // Status 2 is a run with errors, which the measurement counts.
        let bytes = try Siblings.output("load", arguments, statuses: [0, 2])
        return try Measurement.decoder.decode(Measurement.self, from: bytes)
    }
}
