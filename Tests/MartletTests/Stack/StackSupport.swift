// What the tests of runtimes with stacks share: runtimes on one network in memory, and streams whose bytes know where they belong.

import MartletSimulation
import MartletStack
import Testing

@testable import Martlet

/// Configurations of runtimes with stacks.
enum StackRuntime {
    /// A runtime with its own stack, which reaches itself and what the interfaces reach.
    static func configuration(_ interfaces: [StackInterface] = [], cores: Int = 1) -> Runtime.Configuration {
        var configuration = Runtime.Configuration(transport: .stack(interfaces), cores: .count(cores), logger: nil)
        configuration.pinsThreads = false
        return configuration
    }

    /// A runtime on a network, as 10.0.0.`host`.
    static func member(_ network: MemoryNetwork, _ host: UInt8, cores: Int = 1) -> Runtime.Configuration {
        configuration(
            [StackInterface(network: network, addresses: [InterfaceAddress("10.0.0.\(host)/24")!])], cores: cores)
    }

    static func address(_ host: UInt8, _ port: UInt16) -> SocketAddress {
        .ipv4(IPv4Address(10, 0, 0, host), port: port)
    }
}

extension ConnectionOptions {
    /// What a peer that has left does not acknowledge is not waited for long.
    static var brief: ConnectionOptions {
        var options = ConnectionOptions()
        options.closeTimeout = .milliseconds(100)
        return options
    }
}

extension Runtime {
    /// Serves while `client` runs.
    func serving(
        on address: SocketAddress, options: ConnectionOptions = .init(),
        handler: @escaping ConnectionHandler = Stream.echo,
        client: @escaping @Sendable (SocketAddress) async throws -> Void
    ) async throws {
        let listening = Promise<SocketAddress>()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await self.serve(
                    on: address, options: options, onListening: { listening.keep($0) }, handler: handler)
                return false
            }
            group.addTask {
                try await client(await listening.value)
                return true
            }
            while try await group.next() == false {}
            group.cancelAll()
        }
    }
}

/// A stream of bytes that differs everywhere, and its checksum.
enum Stream {
    static let echo: ConnectionHandler = { connection in
        for try await bytes in connection { try await connection.send(bytes) }
    }

    /// The bytes of a stream from one offset to another.
    static func bytes(_ range: Range<Int>, seed: UInt64) -> Bytes {
        Bytes(capacity: range.count) { output in
            for offset in range {
                var word = (UInt64(offset) ^ seed) &* 0x9E37_79B9_7F4A_7C15
                word ^= word &>> 29
                output.append(UInt8(truncatingIfNeeded: word &* 0xBF58_476D_1CE4_E5B9 &>> 56))
            }
        }
    }

    /// FNV-1a.
    struct Checksum: Equatable, Sendable {
        private(set) var count = 0
        private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

        mutating func add(_ bytes: Bytes) {
            let span = bytes.bytes
            for index in 0..<span.byteCount {
                value = (value ^ UInt64(span.byte(at: index))) &* 0x100_0000_01B3
            }
            count += span.byteCount
        }
    }

    /// Sends a stream of `count` bytes, finishes, and compares what comes back with what went.
    static func exchange(_ connection: TCPConnection, count: Int, seed: UInt64) async throws {
        async let back: Checksum = {
            var checksum = Checksum()
            for try await bytes in connection { checksum.add(bytes) }
            return checksum
        }()
        var there = Checksum()
        var offset = 0
        while offset < count {
            let end = min(count, offset + 10_000)
            let part = bytes(offset..<end, seed: seed)
            there.add(part)
            try await connection.send(part)
            offset = end
        }
        try await connection.finish()
        let received = try await back
        #expect(received == there, "seed \(seed)")
    }
}
