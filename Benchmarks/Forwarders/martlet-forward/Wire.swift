// One link of the kernel's in one direction, as testpmd has it in its modes txonly and rxonly; a capture, as tcpdump writes it; and
// two links on which nothing happens.

import Foundation
import Glibc
import Martlet
import MartletStack

extension MartletForward {
    private func open(_ name: String, for pool: borrowing FramePool) throws -> AnyLink {
        let name = try LinkName(name)
        guard name.kind == .xdp, busyBudget > 0 else { return try name.open(for: pool) }
        var options = XDPOptions()
        options.busyPolling = XDPOptions.BusyPolling(budget: busyBudget)
        return AnyLink(try XDPLink(interface: name.name, queue: name.queue, pool: pool, options: options))
    }

    func transmit() throws -> Result {
        let pool = try FrameArena(count: frames).makePool()
        var link = try open(link[0], for: pool)
        let template = Self.datagram(length: 64)
        // An option of the command line is a look into an enumeration, which belongs into no loop.
        let rate = rate
        let length = template.count
        // Each frame of the pool is written once, as by netmap's pkt-gen: no link changes what it transmits.
        var all = pool.makeBurst(capacity: frames)
        all.appendFrames(.max, length: template.count)
        all.changeEach { $0.copyBytes(from: template.span.bytes) }
        all.removeAll()
        var burst = pool.makeBurst(capacity: burst)
        var watch = stopwatch()
        let bursts = rate == nil ? 64 : 1
        repeat {
            for _ in 0..<bursts {
                var due = burst.capacity
                if let rate {
                    let sent = link.counters.transmitted.frames
                    due = min(due, Int(Double(watch.elapsed) * rate / 1e9) - Int(sent))
                    if due <= 0 { break }
                }
                burst.appendFrames(max(0, due - burst.count), length: length)
                _ = link.transmit(&burst)
            }
        } while watch.goesOn(after: link.counters.transmitted.frames)
        var result = watch.result(link.counters.transmitted.frames)
        result.drops = link.counters.transmitted.drops.total
        return result
    }

    /// It looks again and again, as testpmd does.
    func receive() throws -> Result {
        let pool = try FrameArena(count: frames).makePool()
        var link = try open(link[0], for: pool)
        var burst = pool.makeBurst(capacity: burst)
        var watch = stopwatch()
        repeat {
            for _ in 0..<64 {
                _ = link.receive(into: &burst)
                burst.removeAll()
            }
        } while watch.goesOn(after: link.counters.received.frames)
        var result = watch.result(link.counters.received.frames)
        _ = link.refresh()
        result.drops = link.counters.received.drops.total
        return result
    }

    /// Sleeps when nothing has come, as a capture does that runs beside something else.
    func capture() throws -> Result {
        let pool = try FrameArena(count: frames).makePool()
        let name = try LinkName(link[0])
        var options = PacketLink.Options()
        // As `martlet capture` has it.
        (options.receivesBlocks, options.ringSize, options.transmits) = (true, 64 << 20, false)
        (options.timestamps, options.blockTimeout) = (true, .milliseconds(20))
        let output = try CaptureFile(path: file)
        var links = LinkSet(capacity: 1)
        links.append(PacketCapture(try PacketLink(name.name, options: options), to: output))
        print("listening")
        fflush(nil)
        var burst = pool.makeBurst(capacity: burst)
        let watch = Stopwatch(seconds: seconds)
        while watch.isRunning {
            let before = output.frames
            _ = links[0].receive(into: &burst)
            if output.frames == before { _ = links.sleep(atMost: .milliseconds(50)) }
        }
        _ = links[0].refresh()
        output.finish()
        var result = watch.result(output.frames)
        result.drops = links[0].counters.received.drops.total + output.missedFrames
        return result
    }

    func idle() throws -> Result {
        let pool = try FrameArena(count: frames).makePool()
        var links = LinkSet(capacity: 2)
        for name in link { links.append(try open(name, for: pool)) }
        var burst = pool.makeBurst(capacity: burst)
        var count: UInt64 = 0
        let watch = Stopwatch(seconds: seconds)
        while watch.isRunning {
            guard let from = links.receive(into: &burst) else {
                _ = links.sleep(atMost: .seconds(max(0, seconds - Double(watch.elapsed) / 1e9)))
                continue
            }
            count += UInt64(burst.count)
            links[1 - from].transmitOrDrop(&burst)
        }
        return watch.result(count)
    }

    /// A UDP datagram from 198.18.0.1 to 198.18.0.2, port 9, to the Ethernet address that testpmd sends to as well: nobody's, so
    /// that the kernel at the other end drops it at once. A broadcast would be taken on to its UDP, at the sender's expense.
    private static func datagram(length: Int) -> [UInt8] {
        var bytes: [UInt8] = [2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 8, 0]
        bytes += [0x45, 0, 0, UInt8(length - 14), 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2]
        bytes += [0, 9, 0, 9, 0, UInt8(length - 34), 0, 0]
        let sum = stride(from: 14, to: 34, by: 2).reduce(0) { $0 + Int(bytes[$1]) << 8 + Int(bytes[$1 + 1]) }
        let folded = ~(sum & 0xFFFF + sum >> 16) & 0xFFFF
        (bytes[24], bytes[25]) = (UInt8(folded >> 8), UInt8(folded & 0xFF))
        return bytes + [UInt8](repeating: 0, count: length - bytes.count)
    }
}
