// A runtime of this process over its own stack, and the kernel of a namespace on the other end of the wire, with whatever programs
// a test starts there. The stack is 10.77.0.2 and fd00:77::2, the kernel 10.77.0.1 and fd00:77::1.

import Foundation
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

struct PeerScene: Sendable {
    let runtime: Runtime
    /// Where the kernel's side is.
    let peer: Namespace
    /// The kernel's end of the wire.
    let interface: Interface
    /// What handlers threw.
    let errors = Log<any Error>()
    /// Where this scene's files are.
    let folder: String

    var core: Core { runtime.cores[0] }

    static func kernel(port: UInt16) -> SocketAddress { .ipv4(IPv4Address(10, 77, 0, 1), port: port) }

    /// Makes the wire, starts a runtime on one end of it, and takes all away when `body` has ended.
    ///
    /// - Parameters:
    ///   - deadline: seconds after which all of it has failed.
    ///   - prepare: sets up the kernel's side before there is an interface.
    ///   - change: what is different about the stack.
    static func play(
        _ kind: PeerLink, mtu: Int = 1500, deadline: Int = 60,
        prepare: @escaping @Sendable (Namespace) throws -> Void = { _ in },
        changing change: @escaping @Sendable (inout StackInterface, inout Runtime.Configuration) -> Void = { _, _ in },
        _ body: @escaping @Sendable (PeerScene) async throws -> Void
    ) async throws {
        try await within(seconds: deadline) {
            let wire = try await onThread { try Wire(kind, mtu: mtu, prepare) }
            var configuration = Runtime.Configuration(cores: .count(1), logger: nil)
            configuration.pinsThreads = false
            if mtu > 1500 { configuration.limits.frameCapacity = 16_384 }
            var interface = StackInterface(link: wire.link, addresses: [InterfaceAddress("10.77.0.2/24")!])
            // IPv6 is for links of 1,280 bytes and more (RFC 8200 §5).
            if mtu >= 1280 { interface.addresses.append(InterfaceAddress("fd00:77::2/64")!) }
            interface.mtu = mtu
            change(&interface, &configuration)
            configuration.transport = .stack([interface])
            try await Runtime.run(configuration) { runtime in
                let kernelSide = try await onThread { try wire.connect(mtu: mtu) }
                let scene = PeerScene(runtime: runtime, peer: wire.peer, interface: kernelSide, folder: wire.folder)
                try await body(scene)
            }
            wire.takeAway()
        }
    }

    // MARK: Serving

    /// Serves on a port of the stack while `body` runs.
    func serving(
        port: UInt16 = 7007, options: ConnectionOptions = .init(), _ handler: @escaping ConnectionHandler = echo,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let isListening = Promise<Void>()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await runtime.serve(
                    on: .any(port: port), options: options, onListening: { _ in isListening.keep(()) },
                    onError: { errors.append($0) }, handler: handler)
            }
            await isListening.value
            try await body()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// Asks a question of the core every millisecond until the answer is yes.
    func eventually(
        _ what: String, patience: Int = 20_000, _ condition: @escaping @Sendable (borrowing Stack) -> Bool
    ) async throws {
        for _ in 0..<patience {
            if await look(condition) { return }
            try await core.sleep(for: .milliseconds(1))
        }
        throw Failed("never happened: \(what)")
    }

    /// Looks at the core's stack.
    func look<R: Sendable>(_ body: @escaping @Sendable (borrowing Stack) -> R) async -> R {
        let core = core
        return await core.perform { unsafe body(core.transport.driver.stack!.pointee.stack) }
    }

    /// Connects to a port of the kernel's as soon as somebody listens there.
    func connecting<R: Sendable>(
        port: UInt16, _ body: @escaping @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        for _ in 0..<4000 {
            do {
                return try await core.withConnection(to: Self.kernel(port: port), within: .seconds(10), body)
            } catch NetworkError.connectionRefused {
                try await core.sleep(for: .milliseconds(2))
            }
        }
        throw Failed("nobody listens on port \(port)")
    }

    // MARK: The peer

    /// Runs a program of the peer's to its end.
    @discardableResult
    func run(_ arguments: String..., within seconds: Int = 40) async throws -> NetworkRig.Program.Result {
        let peer = peer
        return try await onThread { try peer.start(arguments).ends(within: seconds) }
    }

    /// Runs a line of the shell there.
    func shell(_ line: String, within seconds: Int = 40) async throws -> NetworkRig.Program.Result {
        try await run("sh", "-c", line, within: seconds)
    }

    func path(_ name: String) -> String { folder + "/" + name }

    func write(_ bytes: [UInt8], to name: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path(name))) }

    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path(name)))) }

    /// Sends bytes through an echo server of the stack's by netcat, and compares what comes back.
    func echoByNetcat(
        _ count: Int, host: String = "10.77.0.2", name: String = "", within seconds: Int = 40
    ) async throws {
        let bytes = stream(from: count, count: count)
        try write(bytes, to: "in" + name)
        let line = "nc -N \(host) 7007 < \(path("in" + name)) > \(path("out" + name))"
        let result = try await shell(line, within: seconds)
        #expect(result.status == 0, "\(result.errors)")
        let back = try read("out" + name)
        expectSame(back, bytes)
    }
}

/// Expects two long runs of bytes to be the same, without looking for the least difference between them, which takes for ever.
func expectSame(_ bytes: [UInt8], _ expected: [UInt8], at location: SourceLocation = #_sourceLocation) {
    guard bytes != expected else { return }
    let first = zip(bytes, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    Issue.record(
        "\(bytes.count) bytes came for \(expected.count); the first that differs is \(first ?? min(bytes.count, expected.count))",
        sourceLocation: location)
}

extension TCPConnection {
    /// What the stack knows of it. On its core.
    var stackInfo: MartletStack.TCPInfo? {
        let transport = handle.core.transport
        guard let (stack, socket) = unsafe transport.driver.ours(transport.sockets[handle.slot].descriptor) else {
            return nil
        }
        return unsafe stack.pointee.info(socket)
    }
}

/// The wire, before and after somebody has opened its end.
private final class Wire: Sendable {
    let peer: Namespace
    let link: LinkName
    let folder: String
    private let pair: VethPair?
    private let tap: String

    init(_ kind: PeerLink, mtu: Int, _ prepare: @Sendable (Namespace) throws -> Void) throws {
        peer = try Namespace()
        try prepare(peer)
        let name = Rig.uniqueName("t")
        folder = "/tmp/martlet-" + name
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        guard kind != .tap else {
            (link, tap, pair) = (.tap(name), name, nil)
            // The stack takes its MTU from the device, and so one that is larger has to be there before. It goes with the namespace.
            if mtu > 1500 {
                try NetworkRig.Program.run("ip", "tuntap", "add", "dev", name, "mode", "tap")
                try Interface(name: name, in: nil).setMTU(mtu)
            }
            return
        }
        let pair = try VethPair(right: peer, mtu: mtu, ipv6: true)
        if mtu >= 1280 { try pair.left.disableIPv6() }
        // What the peer leaves to the card would come without a checksum: nobody computes one on a veth.
        try pair.right.set(offload: "tx", false)
        (link, tap, self.pair) = (kind == .xdp ? .xdp(pair.left.name) : .packet(pair.left.name), "", pair)
    }

    /// Gives the kernel its side, now that the link is open. Returns it.
    func connect(mtu: Int) throws -> Interface {
        let interface = try pair?.right ?? Interface(name: tap, in: nil).move(to: peer)
        try interface.setMTU(mtu)
        try interface.setUp()
        try interface.add(address: "10.77.0.1/24")
        if mtu >= 1280 { try interface.add(address: "fd00:77::1/64") }
        return interface
    }

    func takeAway() { try? FileManager.default.removeItem(atPath: folder) }

    deinit { takeAway() }
}
