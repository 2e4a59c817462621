// What the tests of links share: frames that can be told apart, and a clock that stands until it is moved.

import CMartlet
import Glibc
import Martlet
import MartletStack
import Synchronization
import Testing

extension Burst {
    /// Appends Ethernet frames whose first payload word is a number of the range.
    mutating func appendNumbered(
        _ numbers: Range<Int>, to destination: UInt8 = 2, from source: UInt8 = 1, length: Int = 64
    ) {
        for number in numbers {
            var frame = takeFrame()!
            frame.setLength(length)
            frame.writeEthernet(to: destination, from: source, number)
            append(frame)
        }
    }

    /// Takes all frames out and returns their numbers.
    mutating func takeNumbers() -> [Int] {
        var numbers: [Int] = []
        while let frame = popFirst() { numbers.append(frame.number) }
        return numbers
    }
}

extension Frame {
    /// Writes an Ethernet header with addresses `02:00:00:00:00:xx`, all ones if 255, and a number behind it.
    mutating func writeEthernet(to destination: UInt8, from source: UInt8, _ number: Int) {
        var bytes = mutableBytes
        for (offset, address) in [(0, destination), (6, source)] {
            bytes.store(address == 255 ? UInt32.max : 0x0200_0000, at: offset)
            bytes.store(address == 255 ? UInt16.max : UInt16(address), at: offset + 4)
        }
        bytes.store(0x88B5 as UInt16, at: 12)
        bytes.store(UInt32(number), at: 14)
    }

    var number: Int { Int(bytes.uint32(at: 14)) }
}

/// Nanoseconds that pass when a test says so.
final class HandClock: Sendable {
    private let time = Atomic<Int64>(1_000_000_000)

    var now: Int64 { time.load(ordering: .sequentiallyConsistent) }

    func advance(_ duration: Duration) {
        let nanoseconds = duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
        time.add(nanoseconds, ordering: .sequentiallyConsistent)
    }
}

/// Whether poll(2) finds a descriptor readable, now or within a time.
func isReadable(_ descriptor: Int32, within milliseconds: Int32 = 0) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, milliseconds) > 0
}
