// Sockets of the kernel's in a namespace: a client whose every step is the test's, and a DHCP server (RFC 2131) that gives out two
// addresses, one after the other. Their calls block: on a thread of their own, please.

import CMartlet
import Glibc
import MartletSimulation
import MartletStack
import NetworkRig

@testable import Martlet

/// A connection of the kernel's.
final class KernelSocket: Sendable {
    private let state: Guarded<Int32>
    private var descriptor: Int32 { state.withLock { $0 } }

    init(to address: IPv4Address, _ port: UInt16, in namespace: Namespace) throws {
        let opened: Int32 = try namespace.inside {
            var remote = martlet_address_ipv4(address.bits, port)
            let descriptor = unsafe martlet_stream_socket(&remote, false)
            guard descriptor >= 0 else { throw Failed("socket: errno \(-descriptor)") }
            let result = unsafe martlet_connect(descriptor, &remote)
            guard result == 0 else { throw Failed("connect: errno \(-result)") }
            return descriptor
        }
        state = Guarded(opened)
    }

    deinit { close() }

    func close() {
        state.withLock { descriptor in
            if descriptor >= 0 { _ = martlet_close(descriptor) }
            descriptor = -1
        }
    }

    /// Sends a word, and waits until it is back.
    func exchange(_ word: String) throws -> String? { try tryToExchange(word, milliseconds: 20_000).received }

    /// Sends a word, and waits for as long as that for something to come. Whether it could be sent, and what came.
    func tryToExchange(_ word: String, milliseconds: Int32) throws -> (sent: Bool, received: String?) {
        let sent = unsafe Array(word.utf8).withUnsafeBytes {
            unsafe send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == word.utf8.count else { return (false, nil) }
        guard isReadable(descriptor, within: milliseconds) else { return (true, nil) }
        var buffer = [UInt8](repeating: 0, count: 1000)
        let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
        guard count >= 0 else { throw Failed("recv: errno \(errno)") }
        return (true, String(decoding: buffer.prefix(count), as: UTF8.self))
    }

    /// Waits until the connection has ended. The errno, 0 for a FIN.
    func errorAtEnd() -> Int32 {
        guard isReadable(descriptor, within: 20_000) else { return ETIMEDOUT }
        var byte: UInt8 = 0
        return unsafe recv(descriptor, &byte, 1, 0) < 0 ? errno : 0
    }
}

/// Lends 10.77.0.50 for four seconds at a time, until it is told to move on: then it refuses that, and lends 10.77.0.51.
final class LeaseServer: Sendable {
    private let descriptor: Int32
    private let hasMoved = Guarded(false)
    private let isOver = Guarded(false)

    init(on interface: Interface, in namespace: Namespace) throws {
        let name = interface.name
        descriptor = try namespace.inside {
            var address = martlet_address_ipv4(0, 67)
            let descriptor = unsafe martlet_datagram_socket(&address, false)
            guard descriptor >= 0 else { throw Failed("bind to port 67: errno \(-descriptor)") }
            var one: Int32 = 1
            _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &one, socklen_t(MemoryLayout<Int32>.size))
            let result = unsafe name.withCString {
                unsafe setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, $0, socklen_t(name.utf8.count))
            }
            guard result == 0 else { throw Failed("SO_BINDTODEVICE: errno \(errno)") }
            return descriptor
        }
        startThread { [self] in
            while !isOver.withLock({ $0 }) {
                guard isReadable(descriptor, within: 50) else { continue }
                var buffer = [UInt8](repeating: 0, count: 1500)
                let count = unsafe recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                if count > 240 { answer(Array(buffer.prefix(count))) }
            }
            _ = martlet_close(descriptor)
        }
    }

    func moveOn() { hasMoved.withLock { $0 = true } }
    func end() { isOver.withLock { $0 = true } }

    private func answer(_ request: [UInt8]) {
        var options: [UInt8: [UInt8]] = [:]
        var offset = 240
        while offset + 1 < request.count, request[offset] != 255 {
            let length = Int(request[offset + 1])
            options[request[offset]] = Array(request[(offset + 2)...].prefix(length))
            offset += 2 + length
        }
        let last: UInt8 = hasMoved.withLock { $0 } ? 51 : 50
        // Who renews says what it has; who asks anew says what it wants.
        let known = request[12] != 0 ? Array(request[12..<16]) : options[50]
        switch options[53]?.first {
        case 1: send(2, last, to: request)
        case 3: send(known == [10, 77, 0, last] ? 5 : 6, last, to: request)
        default: break
        }
    }

    /// An OFFER (2), ACK (5) or NAK (6), to everybody on the link.
    private func send(_ type: UInt8, _ last: UInt8, to request: [UInt8]) {
        var reply = [UInt8](repeating: 0, count: 240)
        reply.replaceSubrange(0..<4, with: [2, 1, 6, 0])
        reply.replaceSubrange(4..<8, with: request[4..<8])
        reply.replaceSubrange(10..<12, with: request[10..<12])
        if type != 6 { reply.replaceSubrange(16..<20, with: [10, 77, 0, last]) }
        reply.replaceSubrange(28..<44, with: request[28..<44])
        reply.replaceSubrange(236..<240, with: [99, 130, 83, 99])
        reply += [53, 1, type, 54, 4, 10, 77, 0, 1]
        if type != 6 { reply += [51, 4, 0, 0, 0, 4, 1, 4, 255, 255, 255, 0] }
        reply.append(255)
        var datagram = unsafe martlet_datagram()
        unsafe datagram.peer = martlet_address_ipv4(0xFFFF_FFFF, 68)
        unsafe reply.withUnsafeMutableBytes {
            unsafe datagram.buffer = $0.baseAddress
            unsafe (datagram.capacity, datagram.count) = (UInt32($0.count), UInt32($0.count))
            _ = unsafe martlet_send_datagrams(descriptor, &datagram, 1)
        }
    }
}
