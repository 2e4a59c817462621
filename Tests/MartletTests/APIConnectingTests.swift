// Names, the race between a name's addresses, and what connecting and listening say when they cannot.

import Glibc
import MartletStack
import Testing

@testable import Martlet

@Suite("Connecting and listening", .timeLimit(.minutes(1)))
struct APIConnectingTests {
    /// Serves "hello" on an address while `body` runs.
    private func greeting(
        _ driver: DriverChoice, on address: SocketAddress, cores: Int = 1,
        _ body: @escaping @Sendable (Runtime, SocketAddress) async throws -> Void
    ) async throws {
        try await Runtime.run(.test(driver, cores: cores)) { runtime in
            let (bound, announce) = AsyncStream.makeStream(of: SocketAddress.self)
            let server = Task {
                defer { announce.finish() }
                try await runtime.serve(on: address, onListening: { announce.yield($0) }) { try await $0.send("hello") }
            }
            var iterator = bound.makeAsyncIterator()
            guard let address = await iterator.next() else { return try await server.value }
            defer { server.cancel() }
            try await body(runtime, address)
        }
    }

    // MARK: Names

    @Test("localhost and numbers resolve", arguments: everyDriver, ["localhost", "127.0.0.1"])
    func resolves(_ driver: DriverChoice, _ name: String) async throws {
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            let text = try await runtime.withConnection(to: name, port: address.port!, within: .seconds(20)) {
                #expect(await $0.peer == address)
                return try await $0.receive()
            }
            #expect(text == "hello")
        }
    }

    @Test("an IPv6 number is a name too", arguments: everyDriver)
    func resolvesIPv6(_ driver: DriverChoice) async throws {
        try await greeting(driver, on: .ipv6(.loopback, port: 0)) { runtime, address in
            let text = try await runtime.withConnection(to: "::1", port: address.port!) { try await $0.receive() }
            #expect(text == "hello")
        }
    }

    @Test("a name that does not exist is not found, and the error says which", arguments: everyDriver)
    func notFound(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            do {
                try await runtime.withConnection(to: "no-such-name.invalid", port: 80, within: .seconds(30)) { _ in }
                Issue.record("a name in .invalid was found")
            } catch NetworkError.nameNotFound(let name, let reason) {
                #expect(name == "no-such-name.invalid")
                #expect(!reason.isEmpty)
            }
        }
    }

    @Test("a look-up passes its deadline or is cancelled, and the runtime goes on", arguments: everyDriver)
    func lookUpEnds(_ driver: DriverChoice) async throws {
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            await #expect(throws: NetworkError.deadlineExceeded) {
                try await runtime.withConnection(to: "localhost", port: address.port!, within: .zero) { _ in }
            }
            let task = Task {
                unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
                try await runtime.withConnection(to: "localhost", port: address.port!) { _ in }
            }
            await #expect(throws: NetworkError.cancelled) { try await task.value }
            let text = try await runtime.withConnection(to: "localhost", port: address.port!) { try await $0.receive() }
            #expect(text == "hello")
        }
    }

    // MARK: Happy eyeballs

    @Test("the families alternate, IPv6 first, each in the resolver's order")
    func interleaving() {
        func four(_ last: UInt8) -> SocketAddress { .ipv4(IPv4Address(10, 0, 0, last), port: 1) }
        func six(_ low: UInt64) -> SocketAddress { .ipv6(IPv6Address(high: 1, low: low), port: 1) }
        #expect(
            Core.interleaved([four(1), four(2), six(1), six(2), six(3)]) == [six(1), four(1), six(2), four(2), six(3)])
        #expect(Core.interleaved([six(1), four(1), four(2), four(3)]) == [six(1), four(1), four(2), four(3)])
        #expect(Core.interleaved([four(2), four(1)]) == [four(2), four(1)])
        #expect(Core.interleaved([six(2), six(1)]) == [six(2), six(1)])
        #expect(Core.interleaved([]) == [])
    }

    @Test("a refused IPv6 address gives way to IPv4 at once", arguments: everyDriver)
    func fallsBack(_ driver: DriverChoice) async throws {
        // Only IPv4 listens; localhost has both families in /etc/hosts, or this says nothing.
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            try await runtime.forEachCore { core in
                let addresses: [SocketAddress] = [.ipv6(.loopback, port: address.port!), address]
                let clock = ContinuousClock()
                let elapsed = try await clock.measure {
                    let connection = try await core.connect(to: addresses, options: .init(), deadline: .max)
                    #expect(await connection.peer == address)
                    #expect(try await connection.receive() == "hello")
                }
                #expect(elapsed < .milliseconds(240), "the head start of 250 ms was waited for")
            }
        }
    }

    @Test("an address that does not answer gives way after its head start", arguments: everyDriver)
    func headStart(_ driver: DriverChoice) async throws {
        let silent = try FullListener()
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            try await runtime.forEachCore { core in
                let connection = try await core.connect(
                    to: [silent.address, address], options: .init(), deadline: .max)
                #expect(await connection.peer == address)
                #expect(try await connection.receive() == "hello")
            }
        }
    }

    @Test("when every address fails, the first error is thrown", arguments: everyDriver)
    func allFail(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            try await runtime.forEachCore { core in
                let addresses: [SocketAddress] = [.ipv6(.loopback, port: 1), .loopback(port: 1)]
                await #expect(throws: NetworkError.connectionRefused(addresses[0])) {
                    try await core.connect(to: addresses, options: .init(), deadline: .max)
                }
            }
            let open = await runtime.counters()[0].open
            #expect(open == 0)
        }
    }

    // MARK: Connecting

    @Test("nobody listens: refused, with the address", arguments: everyDriver)
    func refused(_ driver: DriverChoice) async throws {
        let missing = SocketAddress.unix(path: "/tmp/martlet-nobody-\(getpid())")
        try await Runtime.run(.test(driver)) { runtime in
            for address in [SocketAddress.loopback(port: 1), .ipv6(.loopback, port: 1), missing] {
                for _ in 0..<20 {
                    await #expect(throws: NetworkError.connectionRefused(address)) {
                        try await runtime.withConnection(to: address) { _ in }
                    }
                }
            }
            let open = await runtime.counters()[0].open
            #expect(open == 0)
        }
    }

    @Test("a connect that nobody answers passes its deadline or is cancelled", arguments: everyDriver)
    func unanswered(_ driver: DriverChoice) async throws {
        // A listener whose backlog is full does not answer: the SYN is dropped.
        let listener = try FullListener()
        try await Runtime.run(.test(driver)) { runtime in
            await #expect(throws: NetworkError.deadlineExceeded) {
                try await runtime.withConnection(to: listener.address, within: .milliseconds(50)) { _ in }
            }
            let task = Task { try await runtime.withConnection(to: listener.address) { _ in } }
            while await runtime.counters()[0].open == 0 { await Task.yield() }
            task.cancel()
            await #expect(throws: NetworkError.cancelled) { try await task.value }
            var open = 1
            for _ in 0..<100_000 where open > 0 {
                open = await runtime.counters()[0].open
                await Task.yield()
            }
            #expect(open == 0)
        }
        withExtendedLifetime(listener) {}
    }

    @Test("a cancelled task does not connect", arguments: everyDriver)
    func cancelledBefore(_ driver: DriverChoice) async throws {
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            let task = Task {
                unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
                try await runtime.withConnection(to: address) { _ in _ = Issue.record("the body ran") }
            }
            await #expect(throws: NetworkError.cancelled) { try await task.value }
        }
    }

    // MARK: Listening

    @Test("an address that is taken is in use, with the address", arguments: everyDriver)
    func inUse(_ driver: DriverChoice) async throws {
        try await greeting(driver, on: .loopback(port: 0)) { runtime, address in
            await #expect(throws: NetworkError.addressInUse(address)) { try await runtime.serve(on: address) { _ in } }
            await #expect(throws: NetworkError.addressInUse(address)) { try await runtime.cores[0].listen(on: address) }
        }
    }

    @Test("an address of another machine is not available", arguments: everyDriver)
    func notAvailable(_ driver: DriverChoice) async throws {
        let foreign = SocketAddress.ipv4(IPv4Address(198, 51, 100, 1), port: 0)
        try await Runtime.run(.test(driver)) { runtime in
            await #expect(throws: NetworkError.addressNotAvailable(foreign)) {
                try await runtime.serve(on: foreign) { _ in }
            }
            await #expect(throws: NetworkError.addressNotAvailable(foreign)) {
                try await runtime.cores[0].bindUDP(on: foreign)
            }
        }
    }

    @Test("a path that cannot be bound is an error that names it", arguments: everyDriver)
    func badPath(_ driver: DriverChoice) async throws {
        let tooLong = SocketAddress.unix(path: "/tmp/" + String(repeating: "x", count: 200))
        let nowhere = SocketAddress.unix(path: "/tmp/martlet-no-such-folder/socket")
        try await Runtime.run(.test(driver)) { runtime in
            await #expect(throws: NetworkError.invalidAddress(tooLong.description)) {
                try await runtime.serve(on: tooLong) { _ in }
            }
            do {
                try await runtime.serve(on: nowhere) { _ in }
                Issue.record("a socket was made in a folder that does not exist")
            } catch let error as NetworkError {
                // Not `connectionRefused`: nobody connects here.
                if case .connectionRefused = error { Issue.record("listening said: \(error)") }
            }
        }
    }

    @Test("a stale socket file is replaced, a live one is in use", arguments: everyDriver)
    func staleSocket(_ driver: DriverChoice) async throws {
        let path = "/tmp/martlet-stale-\(driver.rawValue)-\(getpid())"
        defer { _ = unsafe unlink(path) }
        for _ in 0..<2 {
            try await greeting(driver, on: .unix(path: path)) { runtime, address in
                #expect(address == .unix(path: path))
                let text = try await runtime.withConnection(to: address) { try await $0.receive() }
                #expect(text == "hello")
                await #expect(throws: NetworkError.addressInUse(address)) {
                    try await runtime.cores[0].listen(on: address)
                }
            }
        }
    }

    @Test("an abstract name needs no file", arguments: everyDriver)
    func abstractName(_ driver: DriverChoice) async throws {
        let address = SocketAddress.unix(path: "@martlet-\(driver.rawValue)-\(getpid())")
        try await greeting(driver, on: address, cores: 2) { runtime, bound in
            #expect(bound == address)
            for _ in 0..<20 {
                let text = try await runtime.withConnection(to: address) { try await $0.receive() }
                #expect(text == "hello")
            }
        }
    }

    @Test("port 80 without the capability for it is denied", .enabled(if: mayNotBindLowPorts), arguments: everyDriver)
    func privileged(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { (runtime) async throws -> Void in
            await #expect(throws: NetworkError.permissionDenied(.loopback(port: 80))) {
                try await runtime.serve(on: .loopback(port: 80)) { _ in }
            }
        }
    }

    /// Root may bind every port, and so may everybody where net.ipv4.ip_unprivileged_port_start says so.
    static var mayNotBindLowPorts: Bool {
        unsafe geteuid() != 0 && access("/proc/sys/net/ipv4/ip_unprivileged_port_start", R_OK) != 0
    }

    @Test("any address takes IPv6 and IPv4", arguments: everyDriver)
    func anyAddress(_ driver: DriverChoice) async throws {
        try await greeting(driver, on: .any(port: 0)) { runtime, bound in
            for address in [SocketAddress.loopback(port: bound.port!), .ipv6(.loopback, port: bound.port!)] {
                let text = try await runtime.withConnection(to: address) { connection in
                    #expect(await connection.peer == address)
                    return try await connection.receive()
                }
                #expect(text == "hello")
            }
        }
    }

    // MARK: Cores

    @Test("more cores than CPUs share them, and all of them serve", arguments: everyDriver)
    func threeCores(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver, cores: 3)) { runtime in
            #expect(runtime.cores.map(\.index) == [0, 1, 2])
            let (bound, announce) = AsyncStream.makeStream(of: SocketAddress.self)
            let server = Task {
                try await runtime.serve(on: .loopback(port: 0), onListening: { announce.yield($0) }) { connection in
                    try await connection.send("\(connection.core.index)")
                }
            }
            var iterator = bound.makeAsyncIterator()
            let address = try #require(await iterator.next())
            var seen: Set<Bytes> = []
            for _ in 0..<300 where seen.count < 3 {
                if let text = try await runtime.withConnection(to: address, { try await $0.receive() }) {
                    seen.insert(text)
                }
            }
            #expect(seen == ["0", "1", "2"])
            server.cancel()
            try await server.value
        }
    }

    @Test("a runtime ends when its body does, with its value or its error", arguments: everyDriver)
    func bodyEnds(_ driver: DriverChoice) async throws {
        struct Mishap: Error {}
        let count = try await Runtime.run(.test(driver, cores: 2)) { $0.cores.count }
        #expect(count == 2)
        await #expect(throws: Mishap.self) { let _: Int = try await Runtime.run(.test(driver)) { _ in throw Mishap() } }
        let task = Task {
            try await Runtime.run(.test(driver)) { runtime -> Void in
                try await runtime.cores[0].sleep(for: .seconds(3600))
            }
        }
        await Task.yield()
        task.cancel()
        await #expect(throws: NetworkError.cancelled) { try await task.value }
    }

    @Test("the driver that was asked for is the one in use", arguments: everyDriver)
    func driverName(_ driver: DriverChoice) async throws {
        let name = try await Runtime.run(.test(driver)) { $0.driver }
        #expect(name.hasPrefix(driver.rawValue))
    }
}

/// A kernel listener that accepts nothing and whose backlog is full: the next SYN gets no answer.
private final class FullListener: Sendable {
    let address: SocketAddress
    private let descriptors: [Int32]

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        var opened = [listener]
        unsafe withUnsafeMutablePointer(to: &name) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                _ = unsafe bind(listener, name, length)
                _ = listen(listener, 0)
                _ = unsafe getsockname(listener, name, &length)
                for _ in 0..<4 {
                    let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
                    _ = unsafe connect(client, name, length)
                    opened.append(client)
                }
            }
        }
        address = .loopback(port: UInt16(bigEndian: name.sin_port))
        descriptors = opened
    }

    deinit { for descriptor in descriptors { _ = close(descriptor) } }
}
