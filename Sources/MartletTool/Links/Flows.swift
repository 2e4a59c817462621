// Frames that are made up: Ethernet, IPv4, and UDP or TCP, of many flows. RFC 768, RFC 791, RFC 9293 §3.1.

import ArgumentParser
import Glibc
import Martlet
import MartletStack

struct FlowOptions: ParsableArguments {
    @Option(help: "Bytes of a frame: one number, several in turn (64,576,1500), or a range (64-1500).")
    var size = "64"
    @Option(help: "An IPv4 address, or a range of them: 10.0.0.1-10.0.0.16.") var source = "10.255.0.1"
    @Option(help: "The same for the other end.") var destination = "10.255.0.2"
    @Option(help: "A port, or a range of them: 1000-1999.") var sourcePort = "7000"
    @Option(help: "The same for the other end.") var destinationPort = "7"
    @Option(name: .customLong("protocol"), help: "udp or tcp.") var transport = Transport.udp
    @Option(help: "The Ethernet address that frames are for.") var to = "ff:ff:ff:ff:ff:ff"
    @Option(help: "The Ethernet address that frames are from.") var from = "02:00:00:00:00:01"

    enum Transport: String, ExpressibleByArgument, CaseIterable {
        case udp
        case tcp
    }

    func validate() throws {
        _ = try sizes()
        for text in [source, destination] { _ = try Self.addresses(text) }
        for text in [sourcePort, destinationPort] { _ = try Self.ports(text) }
        for text in [to, from] where MACAddress(text) == nil {
            throw ValidationError("'\(text)' is not an Ethernet address: write 02:00:00:00:00:01")
        }
    }

    private func sizes() throws -> [Int] {
        let smallest = transport == .udp ? 42 : 54
        let parts = size.split(separator: ",").map { part in part.split(separator: "-").map { Int($0) ?? -1 } }
        let ranges = parts.map {
            $0.count == 1 ? $0[0]...$0[0] : $0.count == 2 && $0[0] <= $0[1] ? $0[0]...$0[1] : -1 ... -1
        }
        guard !ranges.isEmpty, ranges.allSatisfy({ $0.lowerBound >= smallest && $0.upperBound <= 1900 }) else {
            throw ValidationError(
                "--size '\(size)': sizes are \(smallest) ... 1900, such as 64 or 64,576,1500 or 64-1500")
        }
        return ranges.flatMap { Array($0) }
    }

    static func addresses(_ text: String) throws -> ClosedRange<UInt32> {
        let ends = text.split(separator: "-").map { IPv4Address(String($0))?.bits }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last else {
            throw ValidationError("'\(text)' is no range of IPv4 addresses: write 10.0.0.1 or 10.0.0.1-10.0.0.16")
        }
        return first...last
    }

    static func ports(_ text: String) throws -> ClosedRange<UInt16> {
        let ends = text.split(separator: "-").map { UInt16($0) }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last else {
            throw ValidationError("'\(text)' is no range of ports: write 7 or 1000-1999")
        }
        return first...last
    }

    /// So many frames, fewer if they would only repeat.
    func frames(count: Int) -> [[UInt8]] {
        guard let sizes = try? sizes(), let sources = try? Self.addresses(source),
            let sourcePorts = try? Self.ports(sourcePort),
            let destinations = try? Self.addresses(destination),
            let destinationPorts = try? Self.ports(destinationPort),
            let to = MACAddress(to), let from = MACAddress(from)
        else { return [] }
        let kinds = sizes.count * sources.count * destinations.count * sourcePorts.count * destinationPorts.count
        return (0..<min(count, kinds)).map { index in
            // One after the other goes through its range, so that neighbouring frames are of different flows.
            var rest = index
            func next<Number: FixedWidthInteger>(_ range: ClosedRange<Number>) -> Number {
                defer { rest /= range.count }
                return range.lowerBound + Number(rest % range.count)
            }
            let size = sizes[index % sizes.count]
            let (sourcePort, source) = (next(sourcePorts), next(sources))
            let (destinationPort, destination) = (next(destinationPorts), next(destinations))
            return frame(size, to, from, source, destination, sourcePort, destinationPort)
        }
    }

    private func frame(
        _ size: Int, _ to: MACAddress, _ from: MACAddress, _ source: UInt32, _ destination: UInt32,
        _ sourcePort: UInt16,
        _ destinationPort: UInt16
    ) -> [UInt8] {
        func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
            (0..<Number.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: number >> Number($0 * 8)) }
        }
        var header: [UInt8] =
            [0x45, 0] + big(UInt16(size - 14)) + [0, 0, 0x40, 0, 64, transport == .udp ? 17 : 6, 0, 0]
        header += big(source) + big(destination)
        var sum = stride(from: 0, to: 20, by: 2).reduce(UInt32(0)) {
            $0 + UInt32(header[$1]) << 8 + UInt32(header[$1 + 1])
        }
        sum = sum & 0xFFFF + sum >> 16
        header.replaceSubrange(10..<12, with: big(~UInt16(truncatingIfNeeded: sum & 0xFFFF + sum >> 16)))
        var bytes = Array(big(to.bits)[2...]) + big(from.bits)[2...] + [8, 0] + header
        bytes += big(sourcePort) + big(destinationPort)
        switch transport {
        // Without a checksum, which IPv4 allows.
        case .udp: bytes += big(UInt16(size - 34)) + [0, 0]
        case .tcp: bytes += [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0]
        }
        for index in bytes.count..<max(bytes.count, size) { bytes.append(UInt8(truncatingIfNeeded: index)) }
        return bytes
    }
}

/// The mark of a frame that is to come back: at its end, so that no header on its way is in the way.
enum Ping {
    private static let magic: UInt64 = 0x4D61_7274_6C65_7421

    static func stamp(_ frame: inout Frame, _ session: UInt32) {
        let start = frame.length - 20
        guard start >= 42 else { return frame.grow(to: 64, session) }
        var bytes = frame.mutableBytes
        bytes.store(magic, at: start)
        bytes.store(session, at: start + 8)
        bytes.store(UInt64(bitPattern: Clock.now), at: start + 12)
    }

    static func time(in bytes: RawSpan, of session: UInt32) -> Int64? {
        let start = bytes.byteCount - 20
        guard start >= 0, bytes.number(at: start, as: UInt64.self) == magic, bytes.uint32(at: start + 8) == session
        else {
            return nil
        }
        return Int64(bitPattern: bytes.number(at: start + 12, as: UInt64.self))
    }
}

extension Frame {
    fileprivate mutating func grow(to length: Int, _ session: UInt32) {
        setLength(length)
        Ping.stamp(&self, session)
    }
}

/// What a generator does when it has nothing to do, or no room.
enum Pause {
    /// Until the link takes frames again, a millisecond at most.
    static func untilRoom(_ links: inout LinkSet) {
        _ = links.sleep(for: LinkWish(frames: 0, room: 1), atMost: .milliseconds(1))
    }

    /// Until the next frame is due, or nearly.
    static func briefly(_ rate: Double?) {
        let interval = 1e9 / (rate ?? 10_000)
        // Waking takes some 60 µs: what is due sooner is waited for awake.
        guard interval > 200_000 else { return }
        var time = timespec(tv_sec: 0, tv_nsec: Int(min(interval / 2, 50_000_000)))
        unsafe nanosleep(&time, nil)
    }
}
